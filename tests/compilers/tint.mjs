// Compiles WGSL by Tint, the compiler of Chromium's WebGPU, through Dawn for Node.
//
//     node tint.mjs FOLDER
//
// Every kernel becomes a module with its values in place of its overrides, and each text a module as the crate hands it over.
// Every eighth text also becomes a pipeline, whose constants are the values. Dawn does not survive some thousands of modules,
// so that each batch has a process of its own.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create, globals } from 'webgpu';

const BATCH = 400;

/** Of so many texts, one becomes a pipeline: SwiftShader takes a third of a second to compile it. */
const PIPELINES = 8;

/** A kernel's source, and the values of its overrides, which the file has in comments before it. */
function read(path) {
    const lines = readFileSync(path, 'utf8').split('\n');
    const isValue = (line) => line.startsWith('// override ');
    const values = lines.filter(isValue).map((line) => /^\/\/ override (\w+) = (\S+)$/.exec(line).slice(1));
    return { source: lines.filter((line) => !isValue(line)).join('\n'), constants: Object.fromEntries(values) };
}

/** The source with constants in place of its overrides, as no device would get it: what they switch off goes. */
function inPlace({ source, constants }) {
    return source.replace(/^override (\w+): (bool|u32) = \w+;$/gm, (_, name, type) => {
        const value = Number(constants[name]);
        return `const ${name}: ${type} = ${type === 'bool' ? value === 1 : `${value}u`};`;
    });
}

class Compiler {
    /** Dawn ends with its instance, which is therefore kept. */
    constructor(gpu, device) {
        Object.assign(this, { gpu, device });
    }

    static async start() {
        const gpu = create([]);
        const adapter = await gpu.requestAdapter();
        if (!adapter) throw new Error('Dawn finds no adapter; let VK_DRIVER_FILES name a driver');
        // Of windows there are up to six, beside four bindings.
        const maxStorageBuffersPerShaderStage = Math.max(8, Math.min(adapter.limits.maxStorageBuffersPerShaderStage, 10));
        return new Compiler(gpu, await adapter.requestDevice({ requiredLimits: { maxStorageBuffersPerShaderStage } }));
    }

    /** Throws the compiler's words. */
    async module(path, code) {
        const module = this.device.createShaderModule({ code });
        const { messages } = await module.getCompilationInfo();
        const found = messages.map(({ type, message, lineNum }) => `${path}: ${type}, line ${lineNum}: ${message}`);
        if (found.length > 0) throw new Error(found.join('\n'));
        return module;
    }

    async pipeline(path, module, constants) {
        const values = Object.fromEntries(Object.entries(constants).map(([name, value]) => [name, Number(value)]));
        try {
            await this.device.createComputePipelineAsync({ layout: 'auto', compute: { module, constants: values } });
        } catch (error) {
            throw new Error(`${path}: ${error.message}`);
        }
    }
}

/** In a process of its own. Before a path, a plus asks for the text as it is, and two for a pipeline, too. */
async function compile(paths) {
    Object.assign(globalThis, globals);
    const compiler = await Compiler.start();
    for (const asked of paths) {
        const [, asks, path] = /^(\+*)(.*)$/.exec(asked);
        const kernel = read(path);
        const code = inPlace(kernel);
        if (/^override /m.test(code)) throw new Error(`${path}: an override has no value`);
        await compiler.module(path, code);
        if (asks.length > 0) {
            const module = await compiler.module(path, kernel.source);
            if (asks.length > 1) await compiler.pipeline(path, module, kernel.constants);
        }
    }
}

function main(folder) {
    const texts = new Set();
    let pipelines = 0;
    const paths = readdirSync(folder).sort().map((name) => {
        const path = join(folder, name);
        const { source } = read(path);
        if (texts.has(source)) return path;
        texts.add(source);
        if (texts.size % PIPELINES !== 1) return `+${path}`;
        pipelines += 1;
        return `++${path}`;
    });
    if (paths.length === 0) throw new Error(`${folder} is empty`);
    for (let start = 0; start < paths.length; start += BATCH) {
        const input = paths.slice(start, start + BATCH).join('\n');
        const stdio = ['pipe', 'inherit', 'inherit'];
        const { status, signal } = spawnSync(process.execPath, [fileURLToPath(import.meta.url)], { input, stdio });
        if (status !== 0) throw new Error(`Tint failed in the batch from ${paths[start]} on (${signal ?? status})`);
    }
    console.log(`tint: ${paths.length} kernels, ${texts.size} texts, ${pipelines} pipelines`);
}

try {
    if (process.argv[2]) {
        main(process.argv[2]);
    } else {
        await compile(readFileSync(0, 'utf8').split('\n').filter(Boolean));
    }
    // Dawn keeps the process alive.
    process.exit(0);
} catch (error) {
    console.error(error.message);
    process.exit(1);
}
