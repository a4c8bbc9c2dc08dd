// The field to draw in, and what both networks make of it.
const SIDE = 224
const canvas = document.querySelector('#drawing')
const seen = document.querySelector('#seen')
const body = document.querySelector('#predictions tbody')
const caption = document.querySelector('#predicted')
const pen = canvas.getContext('2d', { willReadFrequently: true })
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

// The ink alone, so that it can be drawn anew in another colour scheme.
let ink = new Uint8Array(SIDE * SIDE)
let place
let ask

for (let digit = 0; digit < 10; digit += 1) {
    const row = body.insertRow()
    row.innerHTML = `<th scope="row">${digit}</th><td><span></span></td><td class="miadam"><span></span></td>`
}

function paint() {
    const image = pen.createImageData(SIDE, SIDE)
    const dark = matchMedia('(prefers-color-scheme: dark)').matches
    for (let i = 0; i < ink.length; i += 1) image.data.set([dark ? 230 : 29, dark ? 228 : 33, dark ? 223 : 38, ink[i]], 4 * i)
    pen.putImageData(image, 0, 0)
}

function stroke(from, to) {
    pen.lineWidth = 18
    pen.lineCap = pen.lineJoin = 'round'
    pen.strokeStyle = style('--ink')
    pen.beginPath()
    pen.moveTo(...from)
    pen.lineTo(...to)
    pen.stroke()
}

function take() {
    const { data } = pen.getImageData(0, 0, SIDE, SIDE)
    ink = Uint8Array.from({ length: SIDE * SIDE }, (_, i) => data[4 * i + 3])
}

const where = event => {
    const box = canvas.getBoundingClientRect()
    return [(event.clientX - box.left) / box.width * SIDE, (event.clientY - box.top) / box.height * SIDE]
}

function clear() {
    ink.fill(0)
    paint()
    seen.getContext('2d').clearRect(0, 0, 28, 28)
    for (const cell of body.querySelectorAll('span')) cell.replaceChildren()
    for (const cell of body.querySelectorAll('span')) cell.style.setProperty('--share', 0)
    caption.textContent = 'Nothing is drawn.'
    canvas.setAttribute('aria-label', 'An empty field to draw a digit in')
}

let busy = false
let again = false
/// Asks both networks about the drawing. A question that comes meanwhile is asked afterwards, once.
export async function predict() {
    if (!ink.some(value => value)) return
    if (busy) {
        again = true
        return
    }
    busy = true
    try {
        show(await ask('predict', { drawing: ink.slice(), side: SIDE }))
    } catch (error) {
        caption.textContent = error.message
    } finally {
        busy = false
    }
    if (again) {
        again = false
        predict()
    }
}

function show({ pixels, probabilities }) {
    if (!ink.some(value => value)) return
    const image = seen.getContext('2d').createImageData(28, 28)
    pixels.forEach((value, i) => image.data.set([value, value, value, 255], 4 * i))
    seen.getContext('2d').putImageData(image, 0, 0)
    const best = probabilities.map(own => own.indexOf(Math.max(...own)))
    probabilities.forEach((own, column) => own.forEach((share, digit) => {
        const cell = body.rows[digit].cells[column + 1].firstChild
        const isSeen = share >= 0.005
        cell.style.setProperty('--share', isSeen ? share : 0)
        cell.textContent = isSeen ? `${Math.round(100 * share)} %` : ''
    }))
    caption.textContent = `Adam reads ${best[0]}, MIAdam reads ${best[1]}.`
    canvas.setAttribute('aria-label', `A drawing; ${caption.textContent}`)
}

export function begin(call) {
    ask = call
    clear()
    canvas.addEventListener('pointerdown', event => {
        canvas.setPointerCapture(event.pointerId)
        place = where(event)
        stroke(place, place)
    })
    canvas.addEventListener('pointermove', event => {
        if (!place) return
        for (const part of event.getCoalescedEvents?.() ?? [event]) {
            const next = where(part)
            stroke(place, next)
            place = next
        }
    })
    const end = () => {
        if (!place) return
        place = undefined
        take()
        predict()
    }
    canvas.addEventListener('pointerup', end)
    canvas.addEventListener('pointercancel', end)
    canvas.addEventListener('keydown', async event => {
        if (event.key === 'Backspace' || event.key === 'Delete') clear()
        if (!/^[0-9]$/.test(event.key) || event.ctrlKey || event.metaKey || event.altKey) return
        const image = await call('example', { digit: Number(event.key) })
        ink = Uint8Array.from({ length: SIDE * SIDE }, (_, i) => image[28 * Math.floor(i / SIDE / 8) + Math.floor(i % SIDE / 8)])
        paint()
        predict()
    })
    document.querySelector('#clear').addEventListener('click', clear)
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', paint)
}
