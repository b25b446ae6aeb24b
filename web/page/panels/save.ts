/** Hands a file to the browser's downloads. */
export function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The download has begun by then, and the bytes need not stay.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
