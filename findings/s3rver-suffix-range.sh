#!/usr/bin/env bash
#
# s3rver 3.7.1 (npm), Node.js 18 or later.
#
# A suffix range asks for the last bytes of an object: "bytes=-4" means the last
# four (RFC 9110, 14.1.2). This server answers with the first bytes instead, and
# with one more than asked for: 206, and a Content-Range that states the positions
# that it sent. A client that looks only at the status takes the head of a file for
# its tail; the only protection is to compare Content-Range with the request.
# Ranges with a first position are answered rightly.
#
# Output seen, for an object of ten digits:
#
#     bytes=-4 206 bytes 0-4/10 01234
#     bytes=2-4 206 bytes 2-4/10 234

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --no-audit --no-fund --loglevel=error s3rver@3.7.1

cat >look.js <<'JS'
const http = require('http')
const S3rver = require('s3rver')

const server = new S3rver({
  address: '127.0.0.1',
  port: 0,
  silent: true,
  directory: `${__dirname}/objects`,
  configureBuckets: [{ name: 'bucket' }],
})

function call(port, method, headers, body) {
  return new Promise((resolve, reject) => {
    const target = { host: '127.0.0.1', port, method, path: '/bucket/key', headers }
    const request = http.request(target, response => {
      const chunks = []
      response.on('data', chunk => chunks.push(chunk))
      response.on('end', () => {
        const range = response.headers['content-range']
        resolve(`${response.statusCode} ${range} ${Buffer.concat(chunks)}`)
      })
    })
    request.on('error', reject)
    request.end(body)
  })
}

async function main() {
  const { port } = await server.run()
  await call(port, 'PUT', { 'content-length': 10 }, '0123456789')
  for (const range of ['bytes=-4', 'bytes=2-4']) {
    console.log(range, await call(port, 'GET', { range }))
  }
  await server.close()
}

main()
JS
node look.js | tee seen
diff - seen <<'EXPECTED'
bytes=-4 206 bytes 0-4/10 01234
bytes=2-4 206 bytes 2-4/10 234
EXPECTED
