// The invocations of every workgroup. src/abi.rs has the same number.

const WORKGROUP_SIZE = 256u;
