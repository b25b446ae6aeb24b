/** Picked files without those of inner folders. Call it in the page: a worker's copies have lost their paths. */
export function topFiles(files: File[]): File[] {
  return files.filter((file) => (file.webkitRelativePath ?? "").split("/").length <= 2);
}
