// A certified OpenID provider (npm oidc-provider) for tests, on loopback: people sign in with any password. Its users'
// claims come from the command line as JSON: {"maria": {"email": …, "email_verified": …, "groups": […]}}.
import {createRequire} from 'node:module';
const require = createRequire(process.argv[2] + '/');
const {Provider} = await import(require.resolve('oidc-provider'));
const [redirect, users] = [process.argv[3], JSON.parse(process.argv[4])];
const {createServer} = await import('node:http');
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{client_id: 'charter', client_secret: 'a-secret-of-charters-own', redirect_uris: [redirect]}],
    claims: {openid: ['sub'], email: ['email', 'email_verified'], profile: ['groups']},
    conformIdTokenClaims: false,
    cookies: {keys: ['for tests alone']},
    pkce: {required: () => true},
    findAccount: (ctx, id) => ({accountId: id, claims: () => ({sub: id, ...users[id]})}),
  });
  server.on('request', provider.callback());
  console.log(issuer);
});
