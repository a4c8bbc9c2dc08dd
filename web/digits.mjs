// Writes every second of the example's digits, which keeps the page small: labels first, a byte each, then the images. Gzipped.
import { readFileSync } from 'node:fs'
import { gunzipSync, gzipSync } from 'node:zlib'

const COUNT = 5000
const STRIDE = 2
const PIXELS = 28 * 28

const read = name => gunzipSync(readFileSync(new URL(`../examples/mlp_mnist/data/t10k-${name}-ubyte.gz`, import.meta.url)))
const images = read('images-idx3').subarray(16)
const labels = read('labels-idx1').subarray(8)
const chosen = Array.from({ length: COUNT }, (_, number) => number * STRIDE)
const parts = [
    ...chosen.map(number => labels.subarray(number, number + 1)),
    ...chosen.map(number => images.subarray(number * PIXELS, (number + 1) * PIXELS)),
]
process.stdout.write(gzipSync(Buffer.concat(parts), { level: 9 }))
