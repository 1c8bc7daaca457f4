// A gateway as people write it with express, http-proxy-middleware and jose: it verifies the bearer
// token (RS256, issuer, audience, expiry) with the keys of a JWKS file and sets Slurm's headers.
// Settings come by environment, because everybody may read a command line.
import { readFileSync } from 'node:fs'
import http from 'node:http'
import express from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { createLocalJWKSet, jwtVerify } from 'jose'

const { PORT, BACKEND, JWKS_FILE, ISSUER, AUDIENCE, SLURM_TOKEN } = process.env
const keys = createLocalJWKSet(JSON.parse(readFileSync(JWKS_FILE, 'utf8')))

async function authenticate(req, res, next) {
  const [scheme, token] = (req.headers.authorization ?? '').split(' ')
  if (scheme !== 'Bearer' || !token) return res.status(401).json({ error: 'missing token' })
  try {
    const { payload } = await jwtVerify(token, keys, {
      algorithms: ['RS256'],
      issuer: ISSUER,
      audience: AUDIENCE,
      requiredClaims: ['exp'],
    })
    req.user = payload.preferred_username
  } catch {
    return res.status(401).json({ error: 'invalid token' })
  }
  return next()
}

const app = express()
app.disable('x-powered-by')
app.use(authenticate)
app.use(
  createProxyMiddleware({
    target: BACKEND,
    agent: new http.Agent({ keepAlive: true, maxSockets: 64 }),
    on: {
      proxyReq: (proxyReq, req) => {
        proxyReq.removeHeader('authorization')
        proxyReq.setHeader('X-SLURM-USER-NAME', req.user)
        proxyReq.setHeader('X-SLURM-USER-TOKEN', SLURM_TOKEN)
      },
    },
  }),
)
app.listen(Number(PORT), '127.0.0.1')
