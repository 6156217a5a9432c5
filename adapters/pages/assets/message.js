// What a message holds, read for people. Nothing here touches the page, and
// nothing throws: whatever cannot be read is text or bytes.
"use strict";

// readMessage says what a message is: {kind: "senml", records}, {kind: "json",
// value}, {kind: "text", text} or {kind: "bytes", bytes}. Text is whole unless
// the message was cut, and what was cut is no JSON.
function readMessage(m) {
  if (m.payload_base64) return { kind: "bytes", bytes: Uint8Array.from(atob(m.payload_base64), c => c.charCodeAt(0)) };
  const text = m.payload || "";
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return { kind: "text", text };
  }
  const records = senml(value, Date.parse(m.time) / 1000);
  return records ? { kind: "senml", records } : { kind: "json", value };
}

// senml resolves a SenML pack (RFC 8428, section 4.6): base values go to every
// record behind them. It returns null for what is no pack. now is in seconds,
// for times that are relative to it.
function senml(pack, now) {
  if (!Array.isArray(pack) || pack.length === 0) return null;
  const known = ["n", "u", "v", "vs", "vb", "vd", "s", "t", "ut", "bn", "bt", "bu", "bv", "bs", "bver"];
  const base = { bn: "", bt: 0, bu: "", bv: 0, bs: 0 };
  const records = [];
  for (const r of pack) {
    if (r === null || typeof r !== "object" || Array.isArray(r) || !Object.keys(r).some(k => known.includes(k))) return null;
    for (const [key, type] of [["n", "string"], ["u", "string"], ["v", "number"], ["vs", "string"], ["vb", "boolean"], ["vd", "string"], ["s", "number"], ["t", "number"],
      ["bn", "string"], ["bt", "number"], ["bu", "string"], ["bv", "number"], ["bs", "number"]]) {
      if (key in r && typeof r[key] !== type) return null;
      if (key in base && key in r) base[key] = r[key];
    }
    const name = base.bn + (r.n || "");
    let value = null;
    if ("v" in r) value = base.bv + r.v;
    else if ("vs" in r) value = r.vs;
    else if ("vb" in r) value = r.vb;
    else if ("vd" in r) value = r.vd;
    const sum = "s" in r || "bs" in r ? base.bs + (r.s || 0) : null;
    if (value === null && sum === null) {
      if (!Object.keys(r).some(k => k in base || k === "bver")) return null; // neither a value nor a base
      continue;
    }
    if (name === "") return null;
    const t = base.bt + (r.t || 0);
    const at = t < 2 ** 28 ? now + t : t; // small times are relative
    records.push({ name, unit: r.u || base.bu, value: value === null ? sum : value, time: at, data: "vd" in r });
  }
  return records.length ? records : null;
}

// numbers are the numeric values of a message as [{name, value, time}], time in
// seconds, at most 50 of them.
function numbers(read, time) {
  const found = [];
  const take = (name, value, at) => { if (found.length < 50 && Number.isFinite(value)) found.push({ name, value, time: at }); };
  if (read.kind === "senml") for (const r of read.records) if (typeof r.value === "number") take(r.name, r.value, r.time);
  if (read.kind === "json") {
    const walk = (value, path, depth) => {
      if (typeof value === "number") take(path || "value", value, time);
      else if (value && typeof value === "object" && depth < 8) {
        for (const [k, v] of Object.entries(value)) walk(v, Array.isArray(value) ? `${path}[${k}]` : path ? path + "." + k : k, depth + 1);
      }
    };
    walk(read.value, "", 0);
  }
  return found;
}

// hexdump writes bytes as people look at them, 16 a line, at most the first
// thousand.
function hexdump(bytes) {
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, 1024); at += 16) {
    const row = [...bytes.slice(at, at + 16)];
    lines.push(at.toString(16).padStart(4, "0") + "  " + row.map(b => b.toString(16).padStart(2, "0")).join(" ").padEnd(47) + "  " + row.map(b => b > 31 && b < 127 ? String.fromCharCode(b) : ".").join(""));
  }
  if (bytes.length > 1024) lines.push("…");
  return lines.join("\n");
}

// serverEvents takes the events out of the text of a stream: [events, rest].
function serverEvents(text) {
  const blocks = text.split("\n\n"), rest = blocks.pop(), events = [];
  for (const block of blocks) {
    const e = { name: "message", data: "" };
    for (const line of block.split("\n")) {
      if (line.startsWith("event: ")) e.name = line.slice(7);
      if (line.startsWith("data: ")) e.data += line.slice(6);
    }
    if (e.data) events.push(e);
  }
  return [events, rest];
}
