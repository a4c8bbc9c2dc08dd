// ELEMENT of 4 bytes.

alias Element = u32;
