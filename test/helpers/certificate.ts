/** A self-signed certificate for tests and its key; it protects nothing. */
export function selfSigned(): { readonly key: string; readonly cert: string } {
  return { key: KEY, cert: CERTIFICATE }
}

const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgnySc/XWiQ2jc1nBL
IkmD7TLw4vJyb5XIbndnjnHQiGyhRANCAATcBBSo6zoaX/FuG0ydu9ZV4excJord
DrGsu5I8sFa3yGhigOJl7JurasPQhqx2mo+Sb9L0JHxmoL7U2zy/GoqS
-----END PRIVATE KEY-----
`

const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBfDCCASOgAwIBAgIUCT8rOuhaVC5Y2z+SJWsHJfeLitMwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MB4XDTI2MTEyMTIxMjAwNloXDTM2MTExODIx
MjAwNlowFDESMBAGA1UEAwwJbG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAE3AQUqOs6Gl/xbhtMnbvWVeHsXCaK3Q6xrLuSPLBWt8hoYoDiZeybq2rD
0IasdpqPkm/S9CR8ZqC+1Ns8vxqKkqNTMFEwHQYDVR0OBBYEFDwTkLrnKgT9i81u
6zv+7KcKURAsMB8GA1UdIwQYMBaAFDwTkLrnKgT9i81u6zv+7KcKURAsMA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgUvLzizoiQP4T/zHogtqcXVvD
Y244YQ6RUroqKhZ8kegCIF7B2XifNWsVVXirfqOCNkTMNSIpb4UkEAQtLT4/cEje
-----END CERTIFICATE-----
`
