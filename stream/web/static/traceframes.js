// The binary frame of traces, as viewer.py packs it (pack_traces): a head of 8 bytes, then chunk after chunk.

const MAGIC = 0x5457;
const HEAD = 8;
const CHUNK = 40;

/** [{key, number, startMs, rateHz, gainUv, lead, samples: Int16Array}] */
export function parseTraces(buffer) {
  const data = new DataView(buffer);
  if (buffer.byteLength < HEAD || data.getUint16(0, true) !== MAGIC) throw new Error("not a frame of traces");
  const chunks = [];
  let at = HEAD;
  for (let i = data.getUint16(2, true); i > 0; i--) {
    const count = data.getUint32(at + 24, true);
    let lead = "";
    for (let c = at + 28; c < at + 36 && data.getUint8(c); c++) lead += String.fromCharCode(data.getUint8(c));
    chunks.push({
      key: data.getUint32(at, true),
      number: data.getUint32(at + 4, true),
      startMs: data.getFloat64(at + 8, true),
      rateHz: data.getFloat32(at + 16, true),
      gainUv: data.getFloat32(at + 20, true),
      lead,
      samples: new Int16Array(buffer, at + CHUNK, count),
    });
    at += CHUNK + Math.ceil((2 * count) / 8) * 8;
  }
  return chunks;
}
