// A configuration file (see provider.py) -> a real OpenID provider on loopback with a login page that asks for a name.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { Provider, interactionPolicy } from 'oidc-provider';

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const userBySubject = Object.fromEntries(Object.values(settings.users).map((user) => [user.sub, user]));
const claimsOf = ({ sub, preferred_username, email, groups }) => ({ sub, preferred_username, email, groups });

// Everybody agrees to everything: the page would only stand between a test and its token.
async function agreed(ctx) {
  const { client, session, provider } = ctx.oidc;
  const known = ctx.oidc.result?.consent?.grantId ?? session.grantIdFor(client.clientId);
  if (known) return provider.Grant.find(known);
  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope('openid profile email groups offline_access');
  grant.addResourceScope(settings.audience, settings.scope);
  await grant.save();
  return grant;
}

const prompts = interactionPolicy.base();
prompts.get('consent').checks.remove('native_client_prompt');
// Whoever asks for the second factor gets the login page again, until it was given.
prompts.get('login').checks.add(new interactionPolicy.Check(
  'acr_voluntary', 'a stronger login is asked for', 'login_required',
  ({ oidc }) => (oidc.params.acr_values?.split(' ').includes(settings.acr) && oidc.acr !== settings.acr && !oidc.result?.login
    ? interactionPolicy.Check.REQUEST_PROMPT : interactionPolicy.Check.NO_NEED_TO_PROMPT)));

const provider = new Provider(settings.issuer, {
  clients: settings.clients,
  jwks: { keys: JSON.parse(readFileSync(settings.keys_file, 'utf8')).keys },
  cookies: { keys: [settings.cookie_secret] },
  acrValues: [settings.acr],
  // Logout tokens go to a gateway on this machine, which the provider does not call of itself.
  fetch: (url, options) => { delete options.dispatcher; return fetch(url, options); },
  scopes: ['openid', 'profile', 'email', 'groups', 'offline_access'],
  claims: { openid: ['sub', 'amr'], profile: ['preferred_username'], email: ['email'], groups: ['groups'] },
  pkce: { required: () => true },
  findAccount: (ctx, sub) => userBySubject[sub] && { accountId: sub, claims: () => claimsOf(userBySubject[sub]) },
  extraTokenClaims: (ctx, token) => {
    const user = userBySubject[token.accountId];
    return user && { preferred_username: user.preferred_username, email: user.email, groups: user.groups };
  },
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
  loadExistingGrant: agreed,
  interactions: { policy: prompts, url: (ctx, interaction) => `/login/${interaction.uid}` },
  ttl: { AccessToken: settings.access_token_lifetime_seconds, ClientCredentials: settings.access_token_lifetime_seconds },
  features: {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    deviceFlow: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // A browser's client signs people in and calls nothing; its access token is for userinfo.
      defaultResource: (ctx, client) => (client.clientId === settings.web_client ? undefined : settings.audience),
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: settings.scope,
        audience: settings.audience,
        accessTokenFormat: 'jwt',
        accessTokenTTL: settings.access_token_lifetime_seconds,
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});

async function formOf(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return new URLSearchParams(text);
}

const page = (sentence) => `<!doctype html><title>Sign in</title><h1>Sign in</h1><p>${sentence}</p>
<form method="post"><label>User <input name="login" autofocus autocomplete="username"></label> <label><input type="checkbox" name="second_factor"> second factor</label> <button>Sign in</button></form>`;

// A name is enough, but it has to be the name of somebody.
async function signIn(ctx, next) {
  if (!ctx.path.startsWith('/login/')) return next();
  ctx.type = 'html';
  const names = Object.keys(settings.users).join(', ');
  if (ctx.method !== 'POST') { ctx.body = page(`One of ${names}; there are no passwords here.`); return; }
  const form = await formOf(ctx.req);
  const user = settings.users[form.get('login')];
  if (!user) { ctx.status = 403; ctx.body = page(`Nobody has this name. There are ${names}.`); return; }
  const strength = form.get('second_factor') ? { acr: settings.acr, amr: ['pwd', 'otp'] } : { amr: ['pwd'] };
  const result = { login: { accountId: user.sub, ...strength } };
  ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result));
  ctx.status = 303;
}

// Tests count what was asked for.
const grant = (ctx) => `${ctx.oidc.params.grant_type} for ${ctx.oidc.client?.clientId}`;
provider.on('grant.success', (ctx) => console.log(`granted ${grant(ctx)}`));
provider.on('grant.error', (ctx, error) => console.log(`refused ${grant(ctx)}: ${error.message}`));

provider.use(signIn);
createServer(provider.callback()).listen(settings.port, '127.0.0.1');
