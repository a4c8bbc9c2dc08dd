// Says how large the files of a folder are, as they are and as a host that gzips sends them. Fails above 1.5 MB.
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

const LIMIT = 1_500_000
const folder = process.argv[2]
let [whole, sent] = [0, 0]
for (const name of readdirSync(folder).sort()) {
    const bytes = readFileSync(join(folder, name))
    const gzipped = Math.min(bytes.length, gzipSync(bytes, { level: 9 }).length)
    whole += bytes.length
    sent += gzipped
    console.log(`${name.padEnd(22)} ${String(bytes.length).padStart(9)} ${String(gzipped).padStart(9)}`)
}
console.log(`${'all, as is and gzipped'.padEnd(22)} ${String(whole).padStart(9)} ${String(sent).padStart(9)}`)
if (sent > LIMIT) {
    console.error(`The page is larger than ${LIMIT} bytes.`)
    process.exit(1)
}
