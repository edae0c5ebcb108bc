// An assistant by openid-client: it finds the server, registers, asks its person by browser and by device, comes back
// with its refresh token, calls the system, and gives the consent back. All with a DPoP key, to which its code is bound.
// Standard input: one JSON object (issuer, resource, callback), then the address that the browser came back to.
// Standard output: a line of JSON for each step: the address to open, the device's code, what was got.
import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const need = createRequire(process.argv[2] + '/')
const oidc = await import(pathToFileURL(need.resolve('openid-client')).href)
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const heard = async () => (await lines.next()).value
const tell = (step) => console.log(JSON.stringify(step))

const asked = JSON.parse(await heard())
const lax = { execute: [oidc.allowInsecureRequests] }
const config = await oidc.dynamicClientRegistration(
  new URL(asked.issuer),
  { client_name: 'Desk', redirect_uris: [asked.callback], token_endpoint_auth_method: 'none' },
  oidc.None(), lax,
)
const DPoP = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair('ES256'))

const verifier = oidc.randomPKCECodeVerifier()
const state = oidc.randomState()
const url = oidc.buildAuthorizationUrl(config, {
  redirect_uri: asked.callback, resource: asked.resource, state,
  code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  dpop_jkt: await DPoP.calculateThumbprint(),
})
tell({ open: url.href })
const back = new URL(await heard())
const first = await oidc.authorizationCodeGrant(
  config, back, { pkceCodeVerifier: verifier, expectedState: state }, {}, { DPoP },
)
const second = await oidc.refreshTokenGrant(config, first.refresh_token, {}, { DPoP })
const call = {
  jsonrpc: '2.0', id: 1, method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'desk', version: '1' } },
}
const headers = new Headers({ 'content-type': 'application/json', accept: 'application/json, text/event-stream' })
const reach = async (token) => (await oidc.fetchProtectedResource(
  config, token, new URL(asked.resource), 'POST', JSON.stringify(call), headers, { DPoP },
)).status
tell({ first, second, called: await reach(second.access_token) })

const device = await oidc.initiateDeviceAuthorization(config, { resource: asked.resource })
tell({ shows: device.user_code, at: device.verification_uri_complete })
await heard()
const third = await oidc.pollDeviceAuthorizationGrant(config, device, {}, { DPoP })
await oidc.tokenRevocation(config, second.refresh_token)
let gone
try { gone = await reach(second.access_token) } catch (error) { gone = error.status ?? error.cause?.status }
tell({ third, gone, stays: await reach(third.access_token) })
process.exit(0)
