class WebGpu { static async create() { throw new Error("not yet"); } }
