// The paper's Figure 2: a landscape, a start, and the ways of both optimizers.
import { ending, half_width, heights, ways } from './miadam_web.js'
import { settings } from './settings.js'

const SIDE = 640
const STEPS = 400
const BANDS = 14
const canvas = document.querySelector('#landscape')
const pen = canvas.getContext('2d')
const form = document.querySelector('#landscape-settings')
const status = document.querySelector('#ways')
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

let start = [-0.3, 0.72]
const ground = new Map()

/// The landscape in bands, as contours show it, in the colours of the page.
function paintGround(name) {
    const dark = matchMedia('(prefers-color-scheme: dark)').matches
    const key = name + dark
    if (!ground.has(key)) {
        const values = heights(name, SIDE)
        const sorted = Float32Array.from(values).sort()
        // Equal shares of the window: so the valleys have as many bands as the slopes.
        const edges = Array.from({ length: BANDS }, (_, band) => sorted[Math.floor((band + 1) / (BANDS + 1) * sorted.length)])
        const image = pen.createImageData(SIDE, SIDE)
        values.forEach((value, i) => {
            const band = edges.findIndex(edge => value < edge)
            const share = (band < 0 ? BANDS : band) / BANDS
            const grey = dark ? [22 + 62 * share, 27 + 64 * share, 33 + 66 * share] : [255 - 84 * share, 254 - 82 * share, 251 - 76 * share]
            image.data.set([...grey, 255], 4 * i)
        })
        ground.set(key, image)
    }
    pen.putImageData(ground.get(key), 0, 0)
}

function paintWay(points, name, dash) {
    pen.strokeStyle = pen.fillStyle = colour(name)
    pen.lineWidth = 2.5
    pen.lineJoin = 'round'
    pen.setLineDash(dash)
    pen.beginPath()
    for (const point of points) pen.lineTo(...point)
    pen.stroke()
    pen.setLineDash([])
    pen.beginPath()
    pen.arc(...points.at(-1), 7, 0, 2 * Math.PI)
    pen.fill()
}

const WORDS = { flat: 'a flat minimum', sharp: 'a sharp minimum', none: 'no minimum' }

export function draw() {
    const { name: { value: name }, lr: { value: lr } } = form.elements
    form.querySelector('output').value = Number(lr).toFixed(2)
    const half = half_width(name)
    paintGround(name)
    try {
        const [x, y] = start.map(share => share * half)
        const all = ways(JSON.stringify(settings()), name, x, y, Number(lr), STEPS)
        const place = i => [(all[i] / half + 1) / 2 * SIDE, (1 - all[i + 1] / half) / 2 * SIDE]
        const own = [0, 1].map(number => Array.from({ length: STEPS + 1 }, (_, step) => 2 * (number * (STEPS + 1) + step)))
        paintWay(own[0].map(place), '--adam', [9, 6])
        paintWay(own[1].map(place), '--miadam', [])
        pen.fillStyle = colour('--ink')
        pen.fillRect(place(0)[0] - 5, place(0)[1] - 5, 10, 10)
        const ends = own.map(steps => WORDS[ending(name, all[steps.at(-1)], all[steps.at(-1) + 1])])
        const words = `From (${x.toFixed(2)}, ${y.toFixed(2)}), after ${STEPS} steps, Adam is at ${ends[0]} and MIAdam at ${ends[1]}.`
        status.textContent = words
        canvas.setAttribute('aria-label', `${words} The arrow keys move the start.`)
    } catch (error) {
        status.textContent = String(error.message ?? error)
    }
}

export function begin() {
    // A click, and not a touch, which may be the beginning of a scroll.
    canvas.addEventListener('click', event => {
        const box = canvas.getBoundingClientRect()
        start = [2 * (event.clientX - box.left) / box.width - 1, 1 - 2 * (event.clientY - box.top) / box.height]
        draw()
    })
    const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }
    canvas.addEventListener('keydown', event => {
        const arrow = ARROWS[event.key]
        if (!arrow) return
        event.preventDefault()
        start = start.map((share, axis) => Math.max(-1, Math.min(1, share + 0.05 * arrow[axis])))
        draw()
    })
    form.addEventListener('input', draw)
    form.addEventListener('submit', event => event.preventDefault())
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw)
    draw()
}
