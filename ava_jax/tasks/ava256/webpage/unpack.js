// The page's data: a header in JSON and one block of base64, in which each array is deflated.

const TYPES = { float32: Float32Array, int16: Int16Array, uint8: Uint8Array }; // little-endian, as browsers' machines are

async function unpackScene() {
  const header = JSON.parse(document.getElementById("header").textContent);
  const blob = bytesOfBase64(document.getElementById("data").textContent.trim());
  document.getElementById("data").remove(); // the text is as large as all arrays
  const arrays = {};
  for (const [name, entry] of Object.entries(header.arrays)) {
    const bytes = await inflate(blob.subarray(entry.offset, entry.offset + entry.size));
    if (entry.delta) undoDifferences(bytes, entry.delta);
    arrays[name] = new TYPES[entry.type](bytes.buffer);
  }
  return { header, arrays };
}

function bytesOfBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const bytes = new Uint8Array(Math.floor(text.length / 4) * 3);
  const step = 1 << 20; // of letters: atob of all at once takes three times the memory
  let at = 0;
  for (let i = 0; i < text.length; i += step) {
    const part = atob(text.substring(i, i + step));
    for (let j = 0; j < part.length; j++) bytes[at++] = part.charCodeAt(j);
  }
  return bytes.subarray(0, at);
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Bytes were stored as differences to the byte before in their row.
function undoDifferences(bytes, row) {
  for (let start = 0; start < bytes.length; start += row) {
    for (let i = start + 1; i < start + row; i++) bytes[i] = (bytes[i] + bytes[i - 1]) & 255;
  }
}
