// How numbers, times and names read on the page.

export const clock = (iso) => new Date(iso).toLocaleTimeString([], {hour12: false});

export function since(from, to) {
  const seconds = Math.max(0, (new Date(to) - new Date(from)) / 1000);
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(0)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

// "c1/gang/ml/JobSet/llm" -> "ml/llm"; "c1/cube/4x4x4-a" -> "4x4x4-a"
export function short(id) {
  if (!id) return "–";
  const [, kind, ...rest] = id.split("/");
  if (kind === "gang") return `${rest[0]}/${rest[2]}`;
  return rest.length ? rest.join("/") : id;
}

export const number = (value, digits = 0) =>
  value === null || value === undefined ? "–" : Number(value).toLocaleString(undefined, {maximumFractionDigits: digits});

const CLASSES = {critical: "bad", error: "bad", warning: "warn", info: "act"};
export const severityClass = (severity) => CLASSES[severity] ?? "soft";

export const healthClass = (health) => ({healthy: "good", unhealthy: "bad"})[health] ?? "soft";
