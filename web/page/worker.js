// Trains, so that the page itself stays smooth. Each message {id, call, …} is answered by {id, value} or {id, error}.
import init, { Run, look_into, self_check, task } from './miadam_web.js'

const TEST_EVERY = 20
const SAVE_EVERY = 100
const MOST_STEPS = 16
/// A burst of steps takes about so long: the curves move, and a slow GPU is not taken for a hung one.
const BURST_MS = 120
const LOST = 'The GPU was lost'

let digits, run, settings, saved, total = 0
/// Steps taken. The run itself may only be asked when it does nothing else.
let step = 0
let onGpu = false
let running = false
let perStep = BURST_MS

const say = (event, value) => postMessage({ event, value })

// A run does one thing at a time.
let last = Promise.resolve()
const alone = work => {
    const next = last.then(work)
    last = next.catch(() => {})
    return next
}

async function digitsOf(response) {
    if (!response.ok) throw new Error(`The digits did not load: the server says ${response.status}.`)
    const plain = response.body.pipeThrough(new DecompressionStream('gzip'))
    try {
        return new Uint8Array(await new Response(plain).arrayBuffer())
    } catch {
        throw new Error('The digits did not load: their file is broken.')
    }
}

/// Why there is no GPU to train on, or the run on it.
async function openOnGpu(json, bytes) {
    if (!self.isSecureContext) return 'WebGPU needs a page that is served by HTTPS.'
    if (!self.navigator.gpu) return 'This browser has no WebGPU for workers.'
    try {
        return await Run.open(json, digits, true, bytes)
    } catch (error) {
        return String(error.message ?? error)
    }
}

async function open(wish, bytes) {
    const json = JSON.stringify(wish.settings)
    let reason = ''
    const before = run
    let next
    if (wish.device !== 'cpu') {
        const found = await openOnGpu(json, bytes)
        if (typeof found === 'string') reason = found
        else next = found
    }
    onGpu = Boolean(next)
    next ??= await Run.open(json, digits, false, bytes)
    run = next
    step = run.step
    before?.free()
    settings = wish
    total = wish.settings.steps
    perStep = BURST_MS
    if (bytes.length) saved = bytes
    else await keep()
    const device = onGpu
        ? 'Your GPU trains, by WebGPU.'
        : `Your CPU trains, on one thread${reason ? `: ${reason}` : ', as you have chosen.'}`
    return { step, device, onGpu }
}

async function recover(error) {
    say('notice', `${error} The run goes on from its last checkpoint.`)
    const opened = await open(settings, saved)
    say('resumed', opened)
}

async function keep() {
    saved = await run.checkpoint('[]')
}

async function burst() {
    const untilTest = TEST_EVERY - step % TEST_EVERY
    const count = Math.min(Math.max(1, Math.floor(BURST_MS / perStep)), untilTest, MOST_STEPS, total - step)
    const start = performance.now()
    const scores = JSON.parse(await run.advance(count))
    perStep = (performance.now() - start) / count
    step = scores.step
    say('train', scores)
    if (step % TEST_EVERY === 0 || step === total) say('test', JSON.parse(await run.test()))
    if (step % SAVE_EVERY === 0) await keep()
}

async function train() {
    let tries = 0
    while (running && step < total) {
        try {
            await alone(burst)
            tries = 0
        } catch (error) {
            const reason = String(error.message ?? error)
            tries += 1
            if (!reason.startsWith(LOST) || tries > 3) {
                running = false
                say('stopped', reason)
                return
            }
            await alone(() => recover(reason))
        }
        // Messages come in here.
        await new Promise(done => setTimeout(done))
    }
    const ended = running
    running = false
    if (ended) say('ended', step)
}

let training = Promise.resolve()
const halt = async () => {
    running = false
    await training
}

/// These messages go to the run. It is opened again first if it has lost its device.
const asked = work => alone(async () => {
    try {
        return await work()
    } catch (error) {
        const reason = String(error.message ?? error)
        if (!reason.startsWith(LOST)) throw error
        await recover(reason)
        return work()
    }
})

let newest = 0

const calls = {
    async load() {
        const [, response] = await Promise.all([init(), fetch('digits.bin')])
        digits = await digitsOf(response)
        return JSON.parse(task(digits))
    },
    async open({ wish }) {
        const number = ++newest
        await halt()
        // A slider moved by keyboard asks at every key, and only its last place is wanted.
        return alone(() => number === newest ? open(wish, new Uint8Array()) : undefined)
    },
    async resume({ bytes, device }) {
        // A broken file is refused before anything stops.
        const [own, page] = JSON.parse(look_into(bytes))
        await halt()
        return { ...await alone(() => open({ settings: own, device }, bytes)), settings: own, page }
    },
    start() {
        if (running || !run) return
        running = true
        training = train().catch(error => {
            running = false
            say('stopped', String(error.message ?? error))
        })
    },
    async pause() {
        await halt()
        // Whoever is next to ask the run finds a device that is lost.
        if (run) await alone(keep).catch(() => {})
    },
    predict: ({ drawing, side }) => asked(async () => JSON.parse(await run.predict(drawing, side))),
    save: ({ page }) => asked(() => run.checkpoint(page)),
    check: async ({ settings: own }) => JSON.parse(await self_check(JSON.stringify(own))),
    lose: () => alone(() => run.lose_device()),
    /// An image of that class from the digits held out, for those who cannot draw.
    example({ digit }) {
        const count = digits.length / 785
        const own = [...digits.subarray(count * 0.8, count).entries()].filter(([, label]) => label === digit)
        const image = count * 0.8 + own[Math.floor(Math.random() * own.length)][0]
        return digits.slice(count + 784 * image, count + 784 * (image + 1))
    },
}

onmessage = async ({ data }) => {
    try {
        postMessage({ id: data.id, value: await calls[data.call](data) })
    } catch (error) {
        postMessage({ id: data.id, error: String(error.message ?? error) })
    }
}
