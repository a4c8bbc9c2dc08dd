// The page: hears what the worker does, and shows it.
import init from './miadam_web.js'
import { chart, short } from './charts.js'
import * as drawing from './drawing.js'
import * as landscape from './landscape.js'
import * as choice from './settings.js'

const $ = id => document.getElementById(id)
const percent = value => `${(100 * value).toFixed(1)} %`

const show = {
    loss: chart($('loss'), { range: [0.1, 1], log: true }),
    accuracy: chart($('accuracy'), { range: [0.5, 1], tick: value => `${Math.round(100 * value)} %` }),
    effective: chart($('effective-steps'), { range: [0, 0] }),
}
let curves, outlook, step = 0, running = false, ready = false

// The worker's answers, by the number of the question.
const worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' })
const asked = new Map()
const call = (name, data = {}) => new Promise((resolve, reject) => {
    const id = asked.size ? Math.max(...asked.keys()) + 1 : 1
    asked.set(id, { resolve, reject })
    worker.postMessage({ ...data, id, call: name })
})

function notice(text) {
    $('notice').hidden = !text
    $('notice').textContent = text ?? ''
}

function setRunning(now) {
    running = now
    $('run').textContent = now ? 'Pause' : step && step < choice.settings().steps ? 'Go on' : 'Start'
    $('run').disabled = !ready || step >= choice.settings().steps
    $('reset').disabled = !ready || (!step && !now)
    for (const id of ['save', 'csv']) $(id).disabled = !ready || !step
}

const empty = () => ({ loss: [[], []], train: [[], []], accuracy: [[], []], test: [[], []] })
const now = list => list.map(curve => curve.at(-1)?.[1])
const both = (list, write) => list[0] === undefined ? '' : `Adam ${write(list[0])}, MIAdam ${write(list[1])}`

function draw() {
    const { steps } = choice.settings()
    const losses = both(now(curves.loss), short)
    const accuracies = both(now(curves.accuracy), percent)
    $('loss-now').textContent = losses
    $('accuracy-now').textContent = accuracies
    $('progress').textContent = `Step ${step} of ${steps}`
    const at = words => words ? `at step ${step}: ${words}` : 'nothing yet'
    show.loss({ curves: curves.loss, steps, words: `Training loss, ${at(losses)}` })
    show.accuracy({ curves: curves.accuracy, steps, words: `Accuracy on digits held out, ${at(accuracies)}` })
    if (outlook) {
        const own = [outlook.adam, outlook.miadam].map(list => list.map((value, number) => [number + 1, value]))
        const here = own.map(curve => curve[Math.max(0, step - 1)]?.[1])
        $('effective-now').textContent = both(here, short)
        const words = `Effective step, at step ${Math.max(1, step)}: ${both(here, short)}`
        show.effective({ curves: own, steps, now: step, words })
    }
}

let drawn = false
function drawSoon() {
    if (drawn) return
    drawn = true
    requestAnimationFrame(() => {
        drawn = false
        draw()
    })
}

function add(kind, scores) {
    step = scores.step
    const [losses, accuracies] = kind === 'train' ? [curves.loss, curves.train] : [curves.test, curves.accuracy]
    for (const number of [0, 1]) {
        losses[number].push([step, scores.loss[number] ?? NaN])
        accuracies[number].push([step, scores.accuracy[number]])
    }
    drawSoon()
}

function opened({ step: at, device, onGpu }) {
    step = at
    for (const list of Object.values(curves)) list.forEach((curve, number) => { list[number] = curve.filter(([own]) => own <= at) })
    $('device').textContent = device
    $('lose').disabled = !onGpu
    // It wants a GPU, even if the run does not.
    $('check').disabled = !navigator.gpu
    ready = true
    setRunning(running)
    draw()
    drawing.predict()
}

const events = {
    train: scores => add('train', scores),
    test: scores => {
        add('test', scores)
        drawing.predict()
    },
    notice,
    resumed: opened,
    stopped: reason => {
        notice(`${reason} The training has stopped; reset, or choose the CPU.`)
        setRunning(false)
    },
    ended: () => {
        setRunning(false)
        draw()
    },
}

worker.onmessage = ({ data: { id, value, error, event } }) => {
    if (event) return events[event](value)
    const { resolve, reject } = asked.get(id)
    asked.delete(id)
    if (error === undefined) resolve(value)
    else reject(new Error(error))
}
worker.onerror = ({ message }) => {
    notice(`The trainer has stopped by a defect: ${message ?? 'its script did not load'}. Reload the page.`)
    ready = false
    setRunning(false)
}

/// Does something that may fail, and says why it did.
const tried = work => async event => {
    try {
        $('said').textContent = ''
        await work(event)
    } catch (error) {
        notice(error.message)
    }
}

let opening = 0
async function restart() {
    const number = ++opening
    ready = false
    curves = empty()
    step = 0
    setRunning(false)
    draw()
    try {
        const found = await call('open', { wish: { settings: choice.settings(), device: choice.chosenDevice() } })
        // Another change has come meanwhile.
        if (number === opening) opened(found)
    } catch (error) {
        if (number === opening) notice(error.message)
    }
}

function changed({ outlook: found, error, said }) {
    landscape.draw()
    notice(error)
    if (said) $('said').textContent = said
    if (error) {
        ready = false
        call('pause')
        setRunning(false)
        return
    }
    outlook = found
    restart()
}

function save(name, content, type) {
    const url = URL.createObjectURL(new Blob([content], { type }))
    const anchor = Object.assign(document.createElement('a'), { href: url, download: name })
    anchor.click()
    setTimeout(() => URL.revokeObjectURL(url), 10_000)
}

function csv() {
    const columns = [...curves.loss, ...curves.train, ...curves.test, ...curves.accuracy].map(curve => new Map(curve))
    const steps = [...new Set(columns.flatMap(column => [...column.keys()]))].sort((one, other) => one - other)
    const names = ['train_loss', 'train_accuracy', 'test_loss', 'test_accuracy'].flatMap(name => [`adam_${name}`, `miadam_${name}`])
    const lines = steps.map(at => [
        at, ...columns.map(column => column.get(at) ?? ''), outlook.adam[at - 1], outlook.miadam[at - 1],
    ].join(','))
    return [['step', ...names, 'adam_effective_step', 'miadam_effective_step'].join(','), ...lines, ''].join('\n')
}

$('run').addEventListener('click', tried(async () => {
    notice()
    if (running) {
        await call('pause')
        setRunning(false)
    } else {
        setRunning(true)
        await call('start')
    }
}))
$('reset').addEventListener('click', tried(async () => {
    notice()
    await restart()
}))
$('csv').addEventListener('click', tried(() => save('miadam-curves.csv', csv(), 'text/csv')))
$('save').addEventListener('click', tried(async () => {
    const bytes = await call('save', { page: JSON.stringify(curves) })
    save(`miadam-step-${step}.checkpoint`, bytes, 'application/octet-stream')
}))
$('link').addEventListener('click', tried(async () => {
    try {
        await navigator.clipboard.writeText(location.href)
        $('said').textContent = 'The link to these settings is copied.'
    } catch {
        $('said').textContent = 'This browser refuses the clipboard: copy the address, which has the settings.'
    }
}))
$('load').addEventListener('change', tried(async event => {
    const [file] = event.target.files
    event.target.value = ''
    if (!file) return
    notice()
    const number = opening
    const bytes = new Uint8Array(await file.arrayBuffer())
    const found = await call('resume', { bytes, device: choice.chosenDevice() })
    if (number !== opening) return
    running = false
    outlook = choice.adopt(found.settings).outlook
    try {
        curves = { ...empty(), ...JSON.parse(found.page) }
    } catch {
        curves = empty()
    }
    opened(found)
    landscape.draw()
    $('said').textContent = `Goes on from step ${found.step}.`
}))
$('check').addEventListener('click', tried(async () => {
    $('checked').textContent = 'Comparing …'
    try {
        const { steps, elements, equal, difference } = await call('check', { settings: choice.settings() })
        const count = number => number.toLocaleString('en')
        const bits = equal === elements ? `all ${count(elements)} parameters have the same bits` : `${count(equal)} of ${count(elements)} parameters have the same bits, and none differs by more than ${short(difference)} of the way it went`
        // Adam's rules of rounding leave a few parts in a million; a wrong step is parts in a hundred.
        const passed = difference < 1e-3
        $('checked').dataset.passed = passed
        $('checked').textContent = `${passed ? 'Passed' : 'Failed'}: after ${steps} steps ${bits}.`
    } catch (error) {
        $('checked').textContent = `Not run: ${error.message}`
    }
}))
$('lose').addEventListener('click', tried(() => call('lose')))

async function begin() {
    await init()
    curves = empty()
    const started = choice.begin(changed, moved => {
        if (!moved.error) outlook = moved.outlook
        drawSoon()
    })
    outlook = started.outlook
    if (started.said) $('said').textContent = started.said
    drawing.begin(call)
    landscape.begin()
    draw()
    const { train, test, batch, hidden } = await call('load')
    $('task').textContent = `784-${hidden}-10 rectified linear units under cross-entropy; ${train} digits of MNIST to train on, ${test} held out; batches of ${batch}.`
    await restart()
}

begin().catch(error => {
    $('device').textContent = 'The page could not start.'
    const remedy = error instanceof WebAssembly.CompileError ? 'Use a newer browser: the page needs WebAssembly with SIMD.' : 'Reload the page.'
    notice(`${error.message.replace(/\.?$/, '.')} ${remedy}`)
})
