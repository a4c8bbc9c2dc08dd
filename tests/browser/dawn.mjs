// Gives Node.js what a browser has: WebGPU, by Dawn. npm's package `webgpu` lies in the folder that MIADAM_NODE_MODULES names.
import { createRequire } from 'node:module';

const require = createRequire(process.env.MIADAM_NODE_MODULES + '/');
const { create, globals } = require('webgpu');
Object.assign(globalThis, globals);
// wgpu looks for the class of the object that it finds `navigator` in.
globalThis.Window = globalThis.constructor;
Object.defineProperty(globalThis, 'navigator', { value: { gpu: create([]) }, configurable: true });
