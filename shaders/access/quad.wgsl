// ELEMENT of 16 bytes: four words of a row that has whole quads.

alias Element = vec4<u32>;
