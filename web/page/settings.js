// The sliders, the presets, the permalink, and what is kept for the next visit.
import { outlook, preset } from './miadam_web.js'
import { short } from './charts.js'

const KEPT = 'miadam settings'
const NUMBERS = ['kappa', 'order', 'switchStep', 'labelNoise']
const form = document.querySelector('#settings')
const fields = form.elements
const START = { preset: 'recommended', steps: 600, device: 'auto' }

let current, device
export const settings = () => current
export const chosenDevice = () => device

function show() {
    for (const radio of fields.preset) radio.checked = radio.value === current.preset
    fields.lr.value = Math.log10(current.lr)
    fields.switchStep.max = current.steps
    for (const name of NUMBERS) fields[name].value = current[name]
    if (![...fields.steps.options].some(option => option.value === String(current.steps))) {
        fields.steps.add(new Option(current.steps))
    }
    fields.steps.value = current.steps
    fields.stepScale.value = current.stepScale
    fields.device.value = device
    tell()
}

/// The values beside the sliders. Gives the outlook, or nothing if the settings are refused.
function tell() {
    const write = (name, text) => {
        fields[name].parentElement.querySelector('output').value = text
        fields[name].setAttribute('aria-valuetext', text)
    }
    write('lr', short(current.lr))
    write('kappa', current.kappa.toFixed(2))
    write('order', current.order ? String(current.order) : '0, plain Adam')
    write('switchStep', current.switchStep ? String(current.switchStep) : 'never')
    write('labelNoise', `${Math.round(100 * current.labelNoise)} %`)
    const effective = document.querySelector('#effective')
    try {
        const found = JSON.parse(outlook(JSON.stringify(current)))
        effective.value = found.effectiveLr === null ? 'without bound' : short(found.effectiveLr)
        return { outlook: found }
    } catch (error) {
        effective.value = '–'
        return { error: String(error.message ?? error) }
    }
}

function read() {
    // A slider's place is not the number itself where its steps are coarser than that.
    const lr = Number(fields.lr.value)
    if (Math.abs(lr - Math.log10(current.lr)) > 0.026) current.lr = Number((10 ** lr).toPrecision(3))
    for (const name of NUMBERS) current[name] = Number(fields[name].value)
    current.stepScale = fields.stepScale.value
    device = fields.device.value
}

/// The settings as the address has them, without what is refused.
function fromLink(text) {
    const given = Object.fromEntries(new URLSearchParams(text))
    const steps = Number(given.steps) || START.steps
    let base
    try {
        base = JSON.parse(preset(given.preset ?? START.preset, steps))
    } catch {
        base = JSON.parse(preset(START.preset, START.steps))
    }
    for (const name of ['lr', 'seed', ...NUMBERS]) if (given[name] !== undefined) base[name] = Number(given[name])
    if (given.stepScale !== undefined) base.stepScale = given.stepScale
    try {
        outlook(JSON.stringify(base))
        return { settings: base, device: given.device === 'cpu' ? 'cpu' : START.device }
    } catch (error) {
        const own = JSON.parse(preset(START.preset, START.steps))
        return { settings: own, device: START.device, refused: String(error.message ?? error) }
    }
}

const link = () => new URLSearchParams({ ...current, device }).toString()

function keep() {
    history.replaceState(null, '', `#${link()}`)
    try {
        localStorage.setItem(KEPT, link())
    } catch {
        return 'This browser refuses storage: the settings are in the address, and nowhere else.'
    }
}

/// Begins with what the address or the last visit has. `changed(outcome)` hears of every change, `moved` of a slider on its way.
export function begin(changed, moved) {
    let text = location.hash.slice(1)
    let said
    try {
        text ||= localStorage.getItem(KEPT) ?? ''
    } catch {
        said = 'This browser refuses storage: the settings are in the address, and nowhere else.'
    }
    const take = found => {
        current = found.settings
        device = found.device
        show()
        return found.refused && `The address has settings that do not fit: ${found.refused}`
    }
    said = take(fromLink(text)) ?? said
    const change = () => {
        const outcome = tell()
        outcome.said = keep()
        changed(outcome)
    }
    form.addEventListener('input', event => {
        if (event.target.type !== 'range') return
        read()
        moved(tell())
    })
    form.addEventListener('change', event => {
        if (event.target.name === 'preset' || event.target.name === 'steps') {
            const { labelNoise, seed } = current
            const steps = Number(fields.steps.value)
            const name = [...fields.preset].find(radio => radio.checked)?.value ?? START.preset
            const base = JSON.parse(preset(name, steps))
            const isNew = event.target.name === 'preset'
            current = isNew ? { ...base, labelNoise, seed } : { ...current, steps, switchStep: Math.min(current.switchStep, steps) }
            show()
        }
        read()
        change()
    })
    form.addEventListener('submit', event => event.preventDefault())
    addEventListener('hashchange', () => {
        if (location.hash.slice(1) === link()) return
        const refused = take(fromLink(location.hash.slice(1)))
        change()
        if (refused) changed({ ...tell(), said: refused })
    })
    return { ...tell(), said: keep() ?? said }
}

/// Takes the settings of a checkpoint.
export function adopt(settings) {
    current = settings
    show()
    keep()
    return tell()
}
