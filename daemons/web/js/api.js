// Reads the coordinator's HTTP API (docs/api.md) and follows its event stream, with a token where one is asked for.

export class NeedsToken extends Error {}

const headers = () => {
  const token = sessionStorage.getItem("token");
  return token ? {Authorization: `Bearer ${token}`} : {};
};

async function call(path, options = {}) {
  const answer = await fetch(path, {...options, headers: {...headers(), ...options.headers}});
  if (answer.status === 401) throw new NeedsToken("This coordinator asks for a token.");
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    throw new Error(body.error ? `${body.error.why}. ${body.error.what_to_do}` : `${path}: HTTP ${answer.status}`);
  }
  return answer;
}

export const get = async (path) => (await call(`/api/v1/${path}`)).json();

export const post = async (path, body) =>
  (await call(`/api/v1/${path}`, {method: "POST", body: JSON.stringify(body), headers: {"Content-Type": "application/json"}})).json();

// Calls opened() once the stream is open, then on(event, data, id) for each server-sent event until it ends.
// after: the last id that was seen; null: only what comes from now on.
export async function follow(after, opened, on) {
  const answer = await call(after === null ? "/api/v1/events" : `/api/v1/events?after=${after}`);
  opened();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon), line.slice(colon + 1).trimStart()];
      }));
      if (fields.event) on(fields.event, fields.data ? JSON.parse(fields.data) : {}, fields.id);
    }
  }
}
