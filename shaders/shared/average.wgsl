// The bits of an average that a fresh row has: its next averaging copies. src/abi/structs.rs has the same number.

const NO_AVERAGE = 0xffffffffu;
