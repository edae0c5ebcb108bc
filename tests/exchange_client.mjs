// A token exchange by openid-client, with an actor proof made by jose: what an agent written in JavaScript does.
// One JSON object on standard input: issuer, client, key (private JWK), kid, resource, subject, type, hop, narrowed.
// One on standard output: the answer of the exchange, and of introspection.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const need = createRequire(process.argv[2] + '/')
const bring = (name) => import(pathToFileURL(need.resolve(name)).href)
const oidc = await bring('openid-client')
const { SignJWT, importJWK } = await bring('jose')

const asked = JSON.parse(readFileSync(0, 'utf8'))
const key = await importJWK(asked.key, 'ES256')
const now = Math.floor(Date.now() / 1000)
const config = await oidc.discovery(
  new URL(asked.issuer), asked.client, {}, oidc.PrivateKeyJwt({ key, kid: asked.kid }),
  { execute: [oidc.allowInsecureRequests], algorithm: 'oauth2' },
)
const { actor, issuer, subject, purpose, onto, previous } = asked.hop
const proof = await new SignJWT({
  iss: actor, sub: subject, act: { sub: actor, iss: issuer }, target: { aud: [asked.resource], purpose }, onto,
  iat: now, exp: now + 3600, jti: crypto.randomUUID(), ...(previous ? { prh: previous } : {}),
}).setProtectedHeader({ alg: 'ES256', kid: asked.kid, typ: 'actor-proof+jwt' }).sign(key)

const got = await oidc.genericGrantRequest(config, 'urn:ietf:params:oauth:grant-type:token-exchange', {
  resource: asked.resource, subject_token: asked.subject, subject_token_type: asked.type, actor_proof: proof,
  ...(asked.narrowed ? { authorization_details: JSON.stringify(asked.narrowed) } : {}),
})
const told = await oidc.tokenIntrospection(config, got.access_token)
console.log(JSON.stringify({ got, told }))
