// Uses the page of `dist` as a visitor does, in headless Chromium on its software driver SwiftShader.
// `node test.mjs [FOLDER]`; with a folder, screenshots go there. `ONLY=WORDS` runs what has them in its name.
// `MIADAM_TOOLS` has the folder that has playwright-core.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync, mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const tools = process.env.MIADAM_TOOLS ?? new URL('../target/tools', import.meta.url).pathname
const { chromium } = createRequire(join(tools, 'package.json'))('playwright-core')
const shots = process.argv[2]
if (shots) mkdirSync(shots, { recursive: true })

const PORT = 8317
const page_url = `http://localhost:${PORT}/`
const server = spawn('python3', ['-m', 'http.server', String(PORT), '-d', new URL('dist', import.meta.url).pathname], { stdio: 'ignore' })
const folder = mkdtempSync(join(tmpdir(), 'miadam-web-'))
const WEBGPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader']
const QUIET = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
const browse = more => chromium.launch({ executablePath: '/usr/bin/chromium', args: [...QUIET, ...more] })
const DESKTOP = { width: 1280, height: 900 }
const PHONE = { width: 390, height: 844 }

async function open(browser, { viewport = DESKTOP, hash = '', url = page_url, init, route, ...more } = {}) {
    const context = await browser.newContext({ viewport, reducedMotion: 'reduce', ...more })
    if (init) await context.addInitScript(init)
    const page = await context.newPage()
    page.faults = []
    page.on('pageerror', error => page.faults.push(error.message))
    page.on('console', message => message.type() === 'error' && page.faults.push(message.text()))
    if (route) await page.route(...route)
    await page.goto(url + hash)
    return page
}

const text = (page, selector) => page.locator(selector).textContent()
const until = (page, test, argument, timeout = 40_000) => page.waitForFunction(test, argument, { timeout })
const ready = page => until(page, () => !document.querySelector('#run').disabled)
const stepOf = async page => Number(/Step (\d+)/.exec(await text(page, '#progress'))[1])
const accuracies = async page => [...(await text(page, '#accuracy-now')).matchAll(/([\d.]+) %/g)].map(([, share]) => Number(share))
const pause = async page => {
    await page.click('#run')
    await until(page, () => document.querySelector('#run').textContent !== 'Pause')
}
const past = (page, step) => until(page, step => Number(/Step (\d+)/.exec(document.querySelector('#progress').textContent)[1]) >= step, step, 120_000)
const trained = page => until(page, () => {
    const shares = [...document.querySelector('#accuracy-now').textContent.matchAll(/([\d.]+) %/g)]
    return shares.length === 2 && shares.every(([, share]) => Number(share) > 90)
}, undefined, 240_000)
const noSideways = async page => {
    const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth])
    assert.ok(wide <= seen, `the page is ${wide} pixels wide in a window of ${seen}`)
}
const shot = async (page, name) => shots && page.screenshot({ path: join(shots, `${name}.png`), fullPage: true })

async function download(page, button) {
    const [file] = await Promise.all([page.waitForEvent('download'), page.click(button)])
    const path = join(folder, file.suggestedFilename())
    await file.saveAs(path)
    return path
}

/// The lines of a CSV that have a test: the step, and the two losses and accuracies on digits held out.
const testsOf = csv => csv.trim().split('\n').slice(1).map(line => line.split(',')).filter(line => line[5]).map(line => [line[0], ...line.slice(5, 9)])

/// A bold 1, by the mouse.
async function drawOne(page) {
    await page.locator('#drawing').scrollIntoViewIfNeeded()
    const box = await page.locator('#drawing').boundingBox()
    await page.mouse.move(box.x + 0.55 * box.width, box.y + 0.12 * box.height)
    await page.mouse.down()
    await page.mouse.move(box.x + 0.45 * box.width, box.y + 0.88 * box.height, { steps: 12 })
    await page.mouse.up()
    await until(page, () => document.querySelector('#predicted').textContent.startsWith('Adam reads'))
    return text(page, '#predicted')
}

const tests = {
    async 'trains past 90 % on WebGPU, reads a drawing, saves and resumes'(browser) {
        const page = await open(browser)
        await ready(page)
        assert.match(await text(page, '#device'), /GPU trains/)
        await page.click('#run')
        await trained(page)
        await pause(page)
        const [step, shares] = [await stepOf(page), await accuracies(page)]
        assert.equal(await drawOne(page), 'Adam reads 1, MIAdam reads 1.')
        await shot(page, 'desktop-light')
        await noSideways(page)

        const csv = readFileSync(await download(page, '#csv'), 'utf8').trim().split('\n')
        assert.match(csv[0], /^step,adam_train_loss,miadam_train_loss,.*miadam_effective_step$/)
        assert.equal(Number(csv.at(-1).split(',')[0]), step)
        assert.ok(csv.every(line => line.split(',').length === csv[0].split(',').length))

        const path = await download(page, '#save')
        const other = await open(browser, { viewport: PHONE })
        await ready(other)
        await other.setInputFiles('#load', path)
        await until(other, step => document.querySelector('#said').textContent === `Goes on from step ${step}.`, step)
        assert.deepEqual(await accuracies(other), shares)
        // A run that goes on from a file and one that was never interrupted are the same run.
        const runs = []
        for (const own of [page, other]) {
            // A page that is not in front draws nothing.
            await own.bringToFront()
            await own.click('#run')
            await past(own, step + 21)
            await pause(own)
            runs.push(testsOf(readFileSync(await download(own, '#csv'), 'utf8')))
        }
        const shared = Math.min(...runs.map(run => run.length))
        assert.ok(shared > Math.floor(step / 20), `${shared} tests`)
        assert.deepEqual(runs[1].slice(0, shared), runs[0].slice(0, shared))
        await noSideways(other)
        await shot(other, 'phone-light')

        const bytes = readFileSync(path)
        const changed = Buffer.from(bytes)
        changed[bytes.length >> 1] ^= 1
        for (const broken of [bytes.subarray(0, 1000), bytes.subarray(0, bytes.length - 5), Buffer.from('no checkpoint'), changed]) {
            const file = join(folder, 'broken')
            writeFileSync(file, broken)
            const at = await stepOf(other)
            await other.setInputFiles('#load', file)
            await until(other, () => document.querySelector('#notice').textContent.startsWith('The file is no checkpoint'))
            assert.equal(await stepOf(other), at)
            await other.click('#csv')
            await other.evaluate(() => { document.querySelector('#notice').textContent = '' })
        }
        // The CPU goes on from what the GPU has saved.
        await other.selectOption('[name=device]', 'cpu')
        await until(other, () => document.querySelector('#device').textContent.includes('CPU'))
        await other.setInputFiles('#load', path)
        await until(other, step => document.querySelector('#said').textContent === `Goes on from step ${step}.`, step)
        await other.click('#run')
        await past(other, step + 20)
        assert.ok((await accuracies(other)).every(share => share > 88))
        return [page, other]
    },

    async 'the self-check passes for every step scale'(browser) {
        const page = await open(browser)
        await ready(page)
        for (const scale of ['Paper', 'Reference', 'UnitGain', 'ExactGain']) {
            await page.selectOption('[name=stepScale]', scale)
            await ready(page)
            await page.click('#check')
            await until(page, () => /^(Passed|Failed|Not run)/.test(document.querySelector('#checked').textContent))
            const verdict = await text(page, '#checked')
            console.log(`  ${scale}: ${verdict}`)
            assert.match(verdict, /^Passed/)
        }
        return [page]
    },

    async 'a lost GPU goes on from the last checkpoint'(browser) {
        const page = await open(browser)
        await ready(page)
        await page.click('#run')
        await past(page, 120)
        await page.evaluate(() => {
            window.least = Infinity
            new MutationObserver(() => {
                window.least = Math.min(window.least, Number(/Step (\d+)/.exec(document.querySelector('#progress').textContent)[1]))
            }).observe(document.querySelector('#progress'), { childList: true })
        })
        await page.click('#lose')
        await until(page, () => document.querySelector('#notice').textContent.includes('goes on from its last checkpoint'))
        await past(page, 200)
        const least = await page.evaluate(() => window.least)
        assert.ok(least >= 100, `the run went back to step ${least}, and not to its checkpoint`)
        assert.match(await text(page, '#device'), /GPU trains/)
        return [page]
    },

    async 'a drawing lets the training go on, and a lost GPU of a paused run costs no step'(browser) {
        const page = await open(browser)
        await ready(page)
        await page.click('#run')
        await past(page, 30)
        // What is drawn is read again at every test, and the training goes on.
        await page.locator('#drawing').focus()
        await page.keyboard.press('7')
        await past(page, 70)
        await pause(page)
        const step = await stepOf(page)
        await page.click('#lose')
        await page.locator('#drawing').focus()
        await page.keyboard.press('3')
        await until(page, () => /lost.*goes on from its last checkpoint/.test(document.querySelector('#notice').textContent))
        await ready(page)
        assert.equal(await stepOf(page), step)
        return [page]
    },

    async 'a slider held down starts few runs'(browser) {
        const page = await open(browser)
        await ready(page)
        await page.workers()[0].evaluate(() => {
            const { requestDevice } = GPUAdapter.prototype
            self.devices = 0
            GPUAdapter.prototype.requestDevice = function (...all) {
                self.devices += 1
                return requestDevice.apply(this, all)
            }
        })
        await page.locator('[name=kappa]').focus()
        for (let presses = 0; presses < 30; presses += 1) await page.keyboard.press('ArrowLeft')
        await ready(page)
        assert.match(page.url(), /kappa=0\.6&/)
        const devices = await page.workers()[0].evaluate(() => self.devices)
        assert.ok(devices > 0 && devices < 10, `30 keys opened ${devices} devices`)
        return [page]
    },

    async 'a device that is refused, and digits that are missing or broken, are sentences'(browser) {
        const refuses = `GPUAdapter.prototype.requestDevice = async () => { throw new DOMException('none is left', 'OperationError') }\n`
        const page = await open(browser, {
            route: ['**/worker.js', async route => {
                const response = await route.fetch()
                await route.fulfill({ response, body: refuses + await response.text() })
            }],
        })
        await ready(page)
        assert.equal(await text(page, '#device'), 'Your CPU trains, on one thread: The GPU gives no device: OperationError: none is left.')
        const pages = [page]
        for (const [answer, why] of [[{ status: 404 }, 'the server says 404.'], [{ body: 'no gzip' }, 'their file is broken.']]) {
            const own = await open(browser, { route: ['**/digits.bin', route => route.fulfill(answer)] })
            await until(own, () => !document.querySelector('#notice').hidden)
            assert.equal(await text(own, '#notice'), `The digits did not load: ${why} Reload the page.`)
            pages.push(own)
        }
        return pages
    },

    async 'settings are in the address, and the effective rate beside them'(browser) {
        const page = await open(browser, { hash: '#preset=paper&lr=0.002&kappa=0.75&order=2&labelNoise=0.2&steps=300', colorScheme: 'dark', viewport: PHONE })
        await ready(page)
        // α²/(1-κ)².
        assert.equal(await text(page, '#effective'), '6.4e−5')
        const was = page.url()
        await page.locator('[name=kappa]').focus()
        await page.keyboard.press('ArrowLeft')
        await ready(page)
        assert.notEqual(page.url(), was)
        assert.match(page.url(), /kappa=0.74/)
        await page.locator('[name=preset][value=authors]').check({ force: true })
        await ready(page)
        assert.match(page.url(), /kappa=0.98.*stepScale=Reference/)
        await page.locator('#landscape').focus()
        const before = await text(page, '#ways')
        await page.keyboard.press('ArrowUp')
        const after = await text(page, '#ways')
        assert.notEqual(after, before)
        await page.locator('#landscape').click({ position: { x: 40, y: 60 } })
        assert.notEqual(await text(page, '#ways'), after)
        await page.locator('#drawing').focus()
        await page.keyboard.press('7')
        await until(page, () => document.querySelector('#predicted').textContent.startsWith('Adam reads'))
        await noSideways(page)
        const wrong = await open(browser, { hash: '#preset=paper&kappa=7' })
        await ready(wrong)
        assert.match(await text(wrong, '#said'), /do not fit/)
        return [page, wrong]
    },

    async 'the recommended preset, a reset, and the wells'(browser) {
        const page = await open(browser, { hash: '#preset=paper&steps=300&device=cpu' })
        await ready(page)
        await page.locator('[name=preset][value=recommended]').check({ force: true })
        await ready(page)
        assert.match(page.url(), /kappa=0.9&.*stepScale=UnitGain/)
        assert.ok(await page.locator('#reset').isDisabled())
        await page.click('#run')
        await past(page, 40)
        await pause(page)
        await page.click('#reset')
        await until(page, () => document.querySelector('#progress').textContent === 'Step 0 of 300')
        await ready(page)
        assert.equal(await text(page, '#accuracy-now'), '')
        assert.ok(await page.locator('#csv').isDisabled())
        // The same run once more, and not the rest of the first.
        await page.click('#run')
        await past(page, 40)
        await pause(page)
        assert.ok((await accuracies(page)).every(share => share > 30))

        const ground = () => page.locator('#landscape').evaluate(canvas => canvas.toDataURL())
        const waves = [await ground(), await text(page, '#ways')]
        await page.selectOption('#landscape-settings [name=name]', 'wells')
        const wells = [await ground(), await text(page, '#ways')]
        assert.ok(wells.every((own, part) => own !== waves[part]), wells[1])
        assert.match(wells[1], /Adam is at (a flat|a sharp|no) minimum and MIAdam at (a flat|a sharp|no) minimum/)
        await shot(page, 'wells')
        return [page]
    },

    async 'the picture in the dark'(browser) {
        const page = await open(browser, { colorScheme: 'dark', hash: '#preset=paper&steps=300&device=cpu' })
        await ready(page)
        await page.click('#run')
        await past(page, 120)
        await pause(page)
        await page.locator('#drawing').focus()
        await page.keyboard.press('3')
        await until(page, () => document.querySelector('#predicted').textContent.startsWith('Adam reads'))
        await shot(page, 'desktop-dark')
        await page.setViewportSize(PHONE)
        await page.waitForTimeout(300)
        await shot(page, 'phone-dark')
        await noSideways(page)
        return [page]
    },

    async 'without storage and without a clipboard there are sentences'(browser) {
        const init = () => {
            Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('refused', 'SecurityError') } })
            Object.defineProperty(navigator, 'clipboard', { value: undefined })
        }
        const page = await open(browser, { init })
        await ready(page)
        assert.match(await text(page, '#said'), /refuses storage/)
        await page.click('#link')
        await until(page, () => document.querySelector('#said').textContent.includes('refuses the clipboard'))
        return [page]
    },

    async 'an adapter below the usual limits is named, and the CPU trains'(browser) {
        const low = `{
            const { get } = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, 'limits')
            const limits = own => new Proxy(get.call(own), { get: (all, name) => name === 'maxStorageBuffersPerShaderStage' ? 4 : all[name] })
            Object.defineProperty(GPUAdapter.prototype, 'limits', { get() { return limits(this) } })
        }\n`
        const route = ['**/worker.js', async route => {
            const response = await route.fetch()
            await route.fulfill({ response, body: low + await response.text() })
        }]
        const page = await open(browser, { route })
        await ready(page)
        assert.match(await text(page, '#device'), /CPU trains.*below WebGPU's usual limits: max_storage_buffers_per_shader_stage/)
        return [page]
    },
}

async function onCpu(browser, why, url) {
    const page = await open(browser, { url })
    await ready(page)
    assert.match(await text(page, '#device'), why)
    await page.click('#run')
    await trained(page)
    assert.deepEqual(page.faults, [])
    await page.context().close()
}

const WITHOUT = [
    ['trains on the CPU where WebGPU has no adapter', ['--disable-gpu', '--use-webgpu-adapter=default', '--disable-software-rasterizer'], /CPU trains.*no GPU/],
    ['trains on the CPU without WebGPU', ['--host-resolver-rules=MAP plain.test 127.0.0.1'], /CPU trains.*HTTPS/, `http://plain.test:${PORT}/`],
]
const isWanted = name => name.includes(process.env.ONLY ?? '')
const tell = (name, start) => console.log(`ok: ${name}, ${((Date.now() - start) / 1000).toFixed(1)} s`)

try {
    const browser = await browse(WEBGPU)
    for (const [name, test] of Object.entries(tests)) {
        if (!isWanted(name)) continue
        const start = Date.now()
        for (const page of await test(browser)) {
            assert.deepEqual(page.faults, [], name)
            await page.context().close()
        }
        tell(name, start)
    }
    await browser.close()
    for (const [name, flags, why, url] of WITHOUT) {
        if (!isWanted(name)) continue
        const start = Date.now()
        const without = await browse(flags)
        await onCpu(without, why, url)
        await without.close()
        tell(name, start)
    }
} finally {
    server.kill()
    rmSync(folder, { recursive: true, force: true })
}
