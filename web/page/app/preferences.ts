// Small choices about the page itself, remembered in local storage: none of them says anything about what was written.
import { effect, signal, type Signal } from "@preact/signals";
import { language, preferredLanguage } from "../text/index.ts";
import type { Language } from "../text/format.ts";

export type Theme = "auto" | "light" | "dark";

export const theme = signal<Theme>("auto");
export const singleKeys = signal(true);
export const keep = signal(false);

export function startPreferences(): void {
  const asked = read("language");
  language.value = asked === "en" || asked === "nb" ? asked : preferredLanguage(navigator.languages);
  const shade = read("theme");
  if (shade === "light" || shade === "dark") theme.value = shade;
  singleKeys.value = read("singleKeys") !== "off";
  keep.value = read("keep") === "on";
  remember(theme, "theme", (value) => (value === "auto" ? null : value));
  remember(singleKeys, "singleKeys", (value) => (value ? null : "off"));
  remember(keep, "keep", (value) => (value ? "on" : null));
  effect(() => {
    document.documentElement.lang = language.value;
  });
  effect(() => {
    if (theme.value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme.value;
  });
}

export function setLanguage(to: Language): void {
  language.value = to;
  write("language", to);
}

function remember<T>(value: Signal<T>, key: string, stored: (value: T) => string | null): void {
  let first = true;
  effect(() => {
    const text = stored(value.value);
    if (!first) write(key, text);
    first = false;
  });
}

function read(key: string): string | null {
  try {
    return localStorage.getItem(`lyn.${key}`);
  } catch {
    return null;
  }
}

function write(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(`lyn.${key}`);
    else localStorage.setItem(`lyn.${key}`, value);
  } catch {
    // Storage is switched off: the choice holds until the page is closed.
  }
}
