// A company's OpenID provider for the tests: real logins, real tokens. Everything about it is said by its one argument.
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const { port, hub, secret, people, format } = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const key = (kid, alg, kind, options) => ({
  ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig',
});

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'hub', client_secret: secret, redirect_uris: [`${hub}/oauth/sso/callback`],
      grant_types: ['authorization_code'], response_types: ['code'], id_token_signed_response_alg: 'RS256',
    },
    {
      client_id: 'program', token_endpoint_auth_method: 'none', application_type: 'native',
      redirect_uris: ['http://127.0.0.1/callback'], grant_types: ['authorization_code'], response_types: ['code'],
    },
  ],
  jwks: { keys: [key('r', 'RS256', 'rsa', { modulusLength: 2048 }), key('e', 'ES256', 'ec', { namedCurve: 'P-256' })] },
  cookies: { keys: ['a key of the tests'] },
  claims: { openid: ['sub'], profile: ['preferred_username', 'name', 'roles', 'groups'], email: ['email'] },
  scopes: ['openid', 'profile', 'email'],
  pkce: { required: () => true },
  findAccount: (ctx, id) => people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
  extraTokenClaims: (ctx, token) => token.accountId && { roles: people[token.accountId].roles },
  features: {
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx, client, oneOf) => oneOf,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => ({
        scope: 'mcp', audience: resource, accessTokenTTL: 600, accessTokenFormat: format, jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
  // whoever is logged in has said yes
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid profile email');
    for (const resource of [ctx.oidc.params.resource].flat().filter(Boolean)) grant.addResourceScope(resource, 'mcp');
    await grant.save();
    return grant;
  },
});
provider.on('server_error', (ctx, error) => console.error(error));
provider.listen(port, '127.0.0.1', () => console.log('listening'));
