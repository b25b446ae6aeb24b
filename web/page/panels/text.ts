// The panels' texts in the language of the page.

import type { Language } from "../text/format.ts";
import { en, type Panels } from "./text.en.ts";
import { nb } from "./text.nb.ts";

export function catalogue(language: Language): Panels {
  return language === "nb" ? nb : en;
}
