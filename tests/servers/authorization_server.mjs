// An upstream's authorization server, by a certified implementation: oidc-provider, with its state in memory.
//   node authorization_server.mjs NODE_MODULES
// prints its address, and obeys one JSON command a line on standard input:
//   {"issue": {"client": "...", "account": "...", "scope": "..."}}  -> {"code": "...", "verifier": "..."}
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const modules = process.argv[2];
const { Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`));
const RESOURCE = 'https://api.example.com/mcp';
const server = http.createServer();
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const issuer = `http://127.0.0.1:${server.address().port}`;
const client = (id, more) => ({
  client_id: id,
  redirect_uris: ['http://127.0.0.1/back'],
  grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
  response_types: ['code'],
  application_type: 'native',
  ...more,
});
const provider = new Provider(issuer, {
  clients: [
    client('charter', { client_secret: 's3cr3t:with/odd&chars', token_endpoint_auth_method: 'client_secret_basic' }),
    client('charter-post', { client_secret: 'another-secret', token_endpoint_auth_method: 'client_secret_post' }),
    client('charter-public', {
      token_endpoint_auth_method: 'none', grant_types: ['authorization_code', 'refresh_token'],
    }),
  ],
  scopes: ['openid', 'offline_access', 'api:read', 'api:write'],
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async () => true,
  findAccount: async (_ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  ttl: { AccessToken: 120, ClientCredentials: 120, RefreshToken: 86400, Grant: 86400, AuthorizationCode: 60, Session: 86400 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: async () => true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: async () => RESOURCE,
      useGrantedResource: async () => true,
      getResourceServerInfo: async () => ({ scope: 'api:read api:write', accessTokenFormat: 'opaque', accessTokenTTL: 120 }),
    },
  },
});
server.on('request', provider.callback());
console.log(issuer);

// What a browser would do: sign in, consent, come back with a code.
async function issue({ client, account, scope, challenge, redirect }) {
  const grant = new provider.Grant({ accountId: account, clientId: client });
  grant.addOIDCScope('openid offline_access');
  grant.addResourceScope(RESOURCE, scope);
  const code = new provider.AuthorizationCode({
    accountId: account,
    client: await provider.Client.find(client),
    grantId: await grant.save(),
    scope: `openid offline_access ${scope}`,
    resource: RESOURCE,
    redirectUri: redirect,
    codeChallenge: challenge,
    codeChallengeMethod: 'S256',
    gty: 'authorization_code',
  });
  return { code: await code.save() };
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  console.log(JSON.stringify(await issue(asked.issue)));
}
