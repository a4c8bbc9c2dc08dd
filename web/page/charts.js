// Line charts as SVG, two curves each, with their numbers in words.
const NAMES = ['adam', 'miadam']
const MARGIN = { left: 46, right: 8, top: 8, bottom: 20 }

/// Round numbers about a range, at most five.
function ticks(low, high) {
    const rough = (high - low) / 4
    const power = 10 ** Math.floor(Math.log10(rough))
    const width = power * [1, 2, 5, 10].find(factor => factor * power >= rough)
    const list = []
    for (let value = Math.ceil(low / width) * width; value <= high + width / 1e6; value += width) list.push(value)
    return list
}

export const short = value => {
    if (!Number.isFinite(value)) return '–'
    if (value === 0) return '0'
    const size = Math.abs(value)
    return size < 1e-4 || size >= 1e4 ? value.toExponential(1).replace('e-', 'e−').replace('e+', 'e') : String(Number(value.toPrecision(3)))
}

const svg = (name, attributes, text) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', name)
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
    if (text !== undefined) element.textContent = text
    return element
}

/// A chart in a box. `range` is the least range of y; `log` draws its logarithm; `tick` writes a number.
export function chart(box, { range, log = false, tick = short }) {
    let last
    const draw = () => {
        if (!last) return
        const { curves, steps, now, words } = last
        const [width, height] = [box.clientWidth, box.clientHeight]
        if (!width) return
        const scale = log ? Math.log10 : value => value
        const values = curves.flat().map(([, y]) => y).filter(y => Number.isFinite(y) && (!log || y > 0)).map(scale)
        // A loop, since a spread of many thousands is too many arguments.
        let [low, high] = range.map(scale)
        for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)]
        if (log) [low, high] = [Math.floor(low + 1e-9), Math.ceil(high - 1e-9)]
        if (high === low) high = low + 1
        const x = step => MARGIN.left + step / steps * (width - MARGIN.left - MARGIN.right)
        const y = value => height - MARGIN.bottom - (value - low) / (high - low) * (height - MARGIN.top - MARGIN.bottom)
        const root = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': words })
        for (const value of log ? ticks(low, high).filter(Number.isInteger) : ticks(low, high)) {
            root.append(svg('line', { class: 'grid', x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }))
            root.append(svg('text', { x: MARGIN.left - 6, y: y(value) + 4, 'text-anchor': 'end' }, tick(log ? 10 ** value : value)))
        }
        for (const step of ticks(0, steps)) {
            root.append(svg('text', { x: x(step), y: height - 4, 'text-anchor': step === 0 ? 'start' : step > 0.95 * steps ? 'end' : 'middle' }, step))
        }
        if (now) root.append(svg('line', { class: 'now', x1: x(now), x2: x(now), y1: MARGIN.top, y2: height - MARGIN.bottom }))
        curves.forEach((curve, number) => {
            let path = ''
            for (const [step, value] of curve) {
                const place = scale(value)
                if (Number.isFinite(place)) path += `${path ? 'L' : 'M'}${x(step).toFixed(1)} ${y(place).toFixed(1)}`
            }
            root.append(svg('path', { class: NAMES[number], d: path }))
        })
        box.replaceChildren(root)
    }
    new ResizeObserver(draw).observe(box)
    return next => {
        last = next
        draw()
    }
}
