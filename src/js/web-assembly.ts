// What the core's glue takes from `WebAssembly`, for the form where the module is a function: see asmjs.ts.

type Instantiate = (imports: object) => object

class Module {
  constructor(readonly instantiate: Instantiate) {}
}

class Instance {
  readonly exports: object

  constructor({ instantiate }: Module, imports: object) {
    this.exports = instantiate(imports)
  }
}

class RuntimeError extends Error {}

const Own = { Module, Instance, RuntimeError }

export { Own as WebAssembly }
