// The two passkey ceremonies: ask the server what to sign, let the browser ask the device, send the form.
(function () {
  "use strict";
  function run(form, begin, call) {
    var said = form.querySelector("[data-said]");
    form.addEventListener("submit", function (event) {
      if (form.elements.response.value) return;
      event.preventDefault();
      var token = form.elements.form_token;
      fetch(begin, {
        method: "POST",
        body: new URLSearchParams(token ? { form_token: token.value } : { begin: "1" }),
      })
        .then(function (answer) {
          if (!answer.ok) throw new Error("the server refused");
          return answer.json();
        })
        .then(call)
        .then(function (credential) {
          form.elements.response.value = JSON.stringify(credential.toJSON());
          form.submit();
        })
        .catch(function (error) {
          said.textContent = error.name === "NotAllowedError" ? "The device said no, or took too long." : "That did not work: " + error.message;
          said.hidden = false;
        });
    });
  }
  if (!window.PublicKeyCredential || !PublicKeyCredential.parseRequestOptionsFromJSON) return;
  var signing = document.getElementById("passkey-sign-in");
  if (signing) {
    signing.hidden = false;
    run(signing, "/sign-in/passkey/begin", function (options) {
      return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
    });
  }
  var adding = document.getElementById("passkey-add");
  if (adding) {
    adding.hidden = false;
    run(adding, "/passkeys/begin", function (options) {
      return navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) });
    });
  }
})();
