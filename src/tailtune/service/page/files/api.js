// What is asked of the service, within its limits: in pieces, again when it is busy, one by one where one is refused.

const AT_ONCE = 2;
// Texts of one request: progress should move, and a refused piece should be small.
const PIECE = 64;
const BUSY = new Set([429, 503]);
// Times in a row that a busy service, or a lost one, is asked again.
const PATIENCE = 40, LOST = 3;

export class ServiceError extends Error {
  constructor(message, { status = 0, kind = "", requestId = "", retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { status, kind, requestId, retryAfter });
  }
}

/** An error in one sentence for people, with what to name when asking for help. */
export function plainly(error) {
  if (!(error instanceof ServiceError)) return `Something went wrong in this page: ${error.message}`;
  const said = {
    0: "The service does not answer. Is it still running, and is this machine connected?",
    401: "The service wants a key. Load the page again and give yours as the password.",
    403: "This key may not be used for that.",
    429: "The service has more to do than it can answer now. Try again in a moment.",
    500: "The service made an error of its own; its log has the details.",
    503: "The service did not answer in time, or is stopping. Try again in a moment.",
  }[error.status] ?? `The service refused: ${error.message}.`;
  return error.requestId ? `${said} (request ${error.requestId})` : said;
}

/** What the service answers; `body` makes it a POST. Throws ServiceError, or AbortError where `signal` says so. */
export async function ask(path, { body, signal } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
    const content = await response.text();
    if (response.ok) return JSON.parse(content);
    throw refusal(response, content);
  } catch (error) {
    if (error instanceof ServiceError || error.name === "AbortError") throw error;
    throw new ServiceError(error.message, {});
  }
}

function refusal(response, content) {
  let told = {};
  try { told = JSON.parse(content).error ?? {}; } catch { /* a proxy's own page */ }
  const seconds = Number.parseFloat(response.headers.get("retry-after") ?? "");
  return new ServiceError(String(told.message ?? response.statusText), {
    status: response.status,
    kind: told.type ?? "",
    requestId: told.request_id ?? response.headers.get("x-request-id") ?? "",
    retryAfter: Number.isFinite(seconds) ? seconds : null,
  });
}

/**
 * Classify any number of texts.
 *
 * texts:    all of them
 * model:    { name, limits } as /v1/model tells
 * signal:   stops it; then an AbortError is thrown
 * answered: called with (place, result) for each text
 * refused:  called with (place, error) for a text that the service will not read
 * waiting:  called with seconds before a busy service is asked again, and with 0 when it goes on
 */
export async function classifyAll(texts, { model, signal, answered, refused, waiting = () => {} }) {
  const pieces = cut(texts, model.limits, refused);
  let failed = false;
  const workers = Array.from({ length: AT_ONCE }, async () => {
    for (let piece = pieces.next(); !piece.done && !failed; piece = pieces.next()) {
      try {
        await one(piece.value);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  });
  async function one(places) {
    let results;
    try {
      const body = { texts: places.map((place) => texts[place]), model: model.name };
      ({ results } = await patiently(() => ask("v1/classify", { body, signal }), { signal, waiting, alone: places.length === 1 }));
    } catch (error) {
      if (!splits(error)) throw error;
      if (places.length === 1) return refused(places[0], error);
      const half = places.length >> 1;
      await one(places.slice(0, half));
      return one(places.slice(half));
    }
    results.forEach((result, at) => answered(places[at], result));
  }
  await Promise.all(workers);
}

/** Whether fewer texts, or another one, might be answered. */
const splits = (error) => [400, 413, 422].includes(error.status) || error.kind === "timeout";

async function patiently(work, { signal, waiting, alone }) {
  for (let busy = 0, lost = 0; ; ) {
    try {
      const found = await work();
      if (busy || lost) waiting(0);
      return found;
    } catch (error) {
      const again = error instanceof ServiceError && (
        BUSY.has(error.status) && !(error.kind === "timeout" && !alone) ? (busy += 1) < PATIENCE
          : error.status === 0 && (lost += 1) < LOST);
      if (!again || (error.kind === "timeout" && busy > 2)) throw error;
      const seconds = Math.max(error.retryAfter ?? 2 ** (lost - 2), 0.1);
      waiting(seconds);
      await pause(seconds * (1 + Math.random() / 4), signal);
    }
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => { clearTimeout(timer); reject(signal.reason); };
    const timer = setTimeout(() => { signal?.removeEventListener("abort", stop); resolve(); }, 1000 * seconds);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** The places of texts that go into one request each: neighbours, within all limits that can be known here. */
export function* cut(texts, limits, refused) {
  const most = Math.min(PIECE, limits.texts), bytes = Math.floor(0.9 * limits.body_bytes) - 1000;
  const encoder = new TextEncoder();
  let places = [], held = 0, read = 0;
  for (let place = 0; place < texts.length; place += 1) {
    const characters = texts[place].length, size = encoder.encode(JSON.stringify(texts[place])).length + 1;
    if (size > bytes || characters > 2 * limits.characters) {
      const message = `a text of ${characters.toLocaleString("en-GB")} characters is longer than the service reads`;
      refused(place, new ServiceError(message, { status: 413 }));
      continue;
    }
    // A token is a character at least, nearly always: so many texts fit whatever they hold.
    if (places.length && (places.length === most || held + size > bytes || read + characters > limits.tokens)) {
      yield places;
      [places, held, read] = [[], 0, 0];
    }
    places.push(place);
    held += size;
    read += characters;
  }
  if (places.length) yield places;
}
