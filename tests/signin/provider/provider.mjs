// A real OpenID provider at the addresses of ADFS, over TLS. Its settings come as one JSON document in PROVIDER:
// port (0: a free one), cert, key, jwks (private keys with x5c), users (file: name -> claims), redirects.
// Says "ready <port>" when it answers.
import fs from 'node:fs';
import https from 'node:https';
import Koa from 'koa';
import mount from 'koa-mount';
import { Provider } from 'oidc-provider';

const set = JSON.parse(process.env.PROVIDER);
const resource = 'https://ss-tools.test/';
const users = () => JSON.parse(fs.readFileSync(set.users));
const app = new Koa();
app.keys = ['for tests']; // the outer app signs the cookies of the mounted one
app.proxy = true;
let answer; // the provider must know its port, and the port is known when the server listens
const tls = { cert: fs.readFileSync(set.cert), key: fs.readFileSync(set.key) };
const server = https.createServer(tls, (request, response) => answer(request, response));
server.listen(set.port, '127.0.0.1', () => {
  const base = `https://localhost:${server.address().port}/adfs`;
  const provider = new Provider(base, {
    clients: [{
      client_id: 'ss-tools-client',
      client_secret: set.secret,
      token_endpoint_auth_method: 'client_secret_post',
      grant_types: ['authorization_code'],
      response_types: ['code'],
      redirect_uris: set.redirects,
      post_logout_redirect_uris: set.afterwards,
    }],
    jwks: { keys: JSON.parse(fs.readFileSync(set.jwks)) },
    cookies: { keys: ['for tests'] },
    scopes: ['openid'],
    routes: {
      authorization: '/oauth2/authorize', token: '/oauth2/token', jwks: '/discovery/keys', end_session: '/oauth2/logout',
    },
    discovery: { access_token_issuer: base },
    ttl: { AccessToken: 3600, Session: 3600, Grant: 3600, Interaction: 600, IdToken: 3600, AuthorizationCode: 60 },
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: true },
      rpInitiatedLogout: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        useGrantedResource: () => true, // else access tokens are opaque
        getResourceServerInfo: () => ({
          scope: 'openid', audience: resource, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    extraTokenClaims: (context, token) => users()[token.accountId] ?? {},
    findAccount: (context, id) => (users()[id] ? { accountId: id, claims: () => ({ sub: id }) } : undefined),
    async loadExistingGrant(context) { // no page that asks for consent, as with ADFS
      const { client, session } = context.oidc;
      const grant = new context.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope('openid');
      grant.addResourceScope(resource, 'openid');
      await grant.save();
      return grant;
    },
  });
  for (const event of ['server_error', 'authorization.error', 'grant.error', 'end_session.error']) {
    provider.on(event, (context, error) => console.error(event, error.error, error.error_description, error.error_detail));
  }
  app.use(mount('/adfs', provider));
  answer = app.callback();
  console.log(`ready ${server.address().port}`);
});
