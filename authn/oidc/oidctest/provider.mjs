// A certified OpenID provider on a free port, for tests: oidc-provider with its
// pages for development, where every password is right.
//
//   node provider.mjs <node_modules> <JSON of oidctest.Config>
//
// It prints its issuer and ends when its standard input does.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, text] = process.argv.slice(2);
const config = JSON.parse(text);
const { default: Provider } = await import(pathToFileURL(join(modules, 'oidc-provider/lib/index.js')));

const people = {
  alice: { email: 'alice@example.com', email_verified: true, given_name: 'Alice', family_name: 'Archer', preferred_username: 'alice', groups: ['operators', 'staff'] },
  bob: { email: 'bob@example.com', email_verified: true, given_name: 'Bob', family_name: 'Baker', preferred_username: 'bob' },
  mallory: { email: 'alice@example.com', email_verified: false, preferred_username: 'mallory', groups: [] },
  noemail: { preferred_username: 'noemail' },
};

const key = (type, options, more) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', ...more,
});

const server = createServer();
server.listen(config.port, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: config.clients.map((c) => ({
      client_id: c.id,
      ...(c.secret && { client_secret: c.secret }),
      token_endpoint_auth_method: c.secret ? c.auth || 'client_secret_basic' : 'none',
      id_token_signed_response_alg: c.alg || 'RS256',
      redirect_uris: c.redirectURIs,
      post_logout_redirect_uris: c.logoutURIs || [],
      grant_types: ['authorization_code'],
      response_types: ['code'],
    })),
    pkce: { required: () => true },
    jwks: { keys: [key('rsa', { modulusLength: 2048 }), key('ec', { namedCurve: 'P-256' }), key('ed25519')] },
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA', 'HS256'] },
    claims: {
      openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'],
      profile: ['name', 'given_name', 'family_name', 'preferred_username'],
    },
    conformIdTokenClaims: !config.inIDToken,
    findAccount: (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id, ...people[id] }) }),
    features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
    cookies: { keys: [randomUUID()] },
    ttl: { AccessToken: 300, AuthorizationCode: 60, IdToken: 300, Interaction: 300, Session: 3600, Grant: 3600 },
  });
  server.on('request', provider.callback());
  console.log(issuer);
});
process.stdin.on('end', () => process.exit(0)).resume();
