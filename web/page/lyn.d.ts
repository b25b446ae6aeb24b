/** Folder of the package `lyn` beside the page, relative to it; set by vite.config.ts. */
declare const __LYN_PATH__: string;
