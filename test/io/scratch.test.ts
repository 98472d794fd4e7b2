import {test} from "vitest"
import { Authority } from '../harness/certificates.js'
test("x", async()=>{ for (const a of ['ecdsa-sha256','ecdsa-sha384','ecdsa-sha1','rsa-sha1','rsa-sha256','rsa-sha384','rsa-pss-sha512','ed25519'] as const) {
 const ca = new Authority('CA', a); const c = ca.issue({commonName:['a','b'], hosts:['x.example','127.0.0.1'], usage:'server'})
 const { X509Certificate } = await import('node:crypto')
 console.log(a, c.x509.verify(new X509Certificate(ca.cert).publicKey), c.x509.subject, c.x509.subjectAltName, (c.x509 as any).signatureAlgorithm)
}
})
