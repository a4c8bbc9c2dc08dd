// loss = log Σ exp(logits[r, ·]) - logits[r, target]; losses[r] += loss
// dlogits[r, c] = (softmax(logits[r, ·])[c] - [c = target]) / rows, the gradient of the mean loss
// shape = (rows, columns, -, -); a thread for each row.

@group(0) @binding(0) var<uniform> shape: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> targets: array<f32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;
@group(0) @binding(4) var<storage, read_write> dlogits: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= shape.x {
        return;
    }
    let start = row * shape.y;
    let end = start + shape.y;
    let correct = start + u32(targets[row]);
    var largest = logits[start];
    for (var place = start; place < end; place++) {
        largest = max(largest, logits[place]);
    }
    var sum = 0.0;
    for (var place = start; place < end; place++) {
        sum += exp(logits[place] - largest);
    }
    losses[row] += log(sum) + largest - logits[correct];
    for (var place = start; place < end; place++) {
        let probability = exp(logits[place] - largest) / sum;
        dlogits[place] = (probability - select(0.0, 1.0, place == correct)) / f32(shape.x);
    }
}
