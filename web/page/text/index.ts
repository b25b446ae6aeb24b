// The language in use, its sentences and its numbers, as signals.
import { computed, signal } from "@preact/signals";
import { en, type Text } from "./en.ts";
import { createFormat, type Format, type Language } from "./format.ts";
import { nb } from "./nb.ts";

const CATALOGUES: Record<Language, Text> = { en, nb };

export const language = signal<Language>("en");
export const text = computed<Text>(() => CATALOGUES[language.value]);
export const format = computed<Format>(() => createFormat(language.value));

/** Norwegian for those whose browser asks for any of its written forms, or for a neighbour's; else English. */
export function preferredLanguage(languages: readonly string[]): Language {
  for (const tag of languages) {
    if (/^(nb|nn|no|da|sv)\b/i.test(tag)) return "nb";
    if (/^en\b/i.test(tag)) return "en";
  }
  return "en";
}
