// A double of the origin private file system for Node: the handles' methods that lyn calls, exclusive writers, a quota.
// The real one is exercised in browsers.

/** Bytes that all files of one root share. */
interface Disk {
  quota: number;
  used: number;
}

class FakeFile {
  readonly kind = "file";
  bytes = new Uint8Array();
  open = false;

  constructor(
    readonly name: string,
    private readonly disk: Disk,
  ) {}

  async getFile(): Promise<File> {
    return new File([this.bytes], this.name);
  }

  async createSyncAccessHandle(): Promise<object> {
    if (this.open) throw new DOMException("open elsewhere", "NoModificationAllowedError");
    this.open = true;
    return {
      getSize: () => this.bytes.length,
      read: (buffer: Uint8Array, { at }: { at: number }) => {
        const part = this.bytes.subarray(at, at + buffer.length);
        buffer.set(part);
        return part.length;
      },
      write: (buffer: Uint8Array, { at }: { at: number }) => {
        this.resize(Math.max(this.bytes.length, at + buffer.length));
        this.bytes.set(buffer, at);
        return buffer.length;
      },
      truncate: (size: number) => this.resize(size),
      flush: () => undefined,
      close: () => {
        this.open = false;
      },
    };
  }

  resize(size: number): void {
    const used = this.disk.used + size - this.bytes.length;
    if (used > this.disk.quota) throw new DOMException("no room", "QuotaExceededError");
    this.disk.used = used;
    const bytes = new Uint8Array(size);
    bytes.set(this.bytes.subarray(0, size));
    this.bytes = bytes;
  }
}

export class FakeDirectory {
  readonly kind = "directory";
  readonly children = new Map<string, FakeDirectory | FakeFile>();

  constructor(
    readonly name = "",
    readonly disk: Disk = { quota: Infinity, used: 0 },
  ) {}

  /** As what lyn takes it for. */
  get handle(): FileSystemDirectoryHandle {
    return this as unknown as FileSystemDirectoryHandle;
  }

  async getDirectoryHandle(name: string, { create = false } = {}): Promise<FakeDirectory> {
    return this.child(name, create, FakeDirectory);
  }

  async getFileHandle(name: string, { create = false } = {}): Promise<FakeFile> {
    return this.child(name, create, FakeFile);
  }

  async removeEntry(name: string, { recursive = false } = {}): Promise<void> {
    const child = this.children.get(name);
    if (!child) throw new DOMException(`no ${name}`, "NotFoundError");
    if (child instanceof FakeDirectory) {
      if (child.children.size > 0 && !recursive) throw new DOMException("not empty", "InvalidModificationError");
      for (const inner of [...child.children.keys()]) await child.removeEntry(inner, { recursive });
    } else {
      if (child.open) throw new DOMException("open", "NoModificationAllowedError");
      child.resize(0);
    }
    this.children.delete(name);
  }

  async *values(): AsyncGenerator<FakeDirectory | FakeFile> {
    yield* this.children.values();
  }

  /** All files below, by path. */
  tree(prefix = ""): Map<string, FakeFile> {
    const found = new Map<string, FakeFile>();
    for (const [name, child] of this.children) {
      if (child instanceof FakeFile) found.set(prefix + name, child);
      else for (const [inner, file] of child.tree(`${prefix}${name}/`)) found.set(inner, file);
    }
    return found;
  }

  private child<T extends FakeDirectory | FakeFile>(
    name: string,
    create: boolean,
    kind: new (name: string, disk: Disk) => T,
  ): T {
    const found = this.children.get(name);
    if (found instanceof kind) return found;
    if (found) throw new DOMException(`${name} is something else`, "TypeMismatchError");
    if (!create) throw new DOMException(`no ${name}`, "NotFoundError");
    const made = new kind(name, this.disk);
    this.children.set(name, made);
    return made;
  }
}
