// What TensorBoard's Graphs tab draws stands in many shadow roots; `board` sees through them.
window.board = {
  all(selector, root = document) {
    const found = [...root.querySelectorAll(selector)];
    for (const element of root.querySelectorAll("*")) {
      if (element.shadowRoot) found.push(...this.all(selector, element.shadowRoot));
    }
    return found;
  },

  async until(what, test) {
    const end = performance.now() + 60000;
    while (!test()) {
      if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
      await new Promise((resume) => setTimeout(resume, 30));
    }
  },

  node(name) {
    return this.all("g.node").find((node) => node.getAttribute("data-name") === name);
  },

  // Nothing has moved for a while: layout and transitions are over.
  async settled() {
    let before = "", since = 0;
    await this.until("the picture to stand still", () => {
      const now = this.all("g.node, g.edge").map((one) => JSON.stringify(one.getBoundingClientRect())).join();
      since = now === before ? since + 1 : 0;
      before = now;
      return since > 8;
    });
  },

  // The page draws the first run by itself; what is drawn then is marked, to see that another takes its place.
  async choose(run) {
    const item = () => this.all("paper-item").find((one) => one.textContent.trim() === run);
    await this.until(`the run ${run}`, () => item() && this.all("g.node").length);
    if (this.all("tf-graph-dashboard-loader")[0].selection.run !== run) {
      for (const node of this.all("g.node")) node.classList.add("of-another-run");
      item().click();
      await this.until(`the graph of ${run}`, () => this.all("g.node").length && !this.all("g.of-another-run").length);
    }
    await this.settled();
  },

  async open(name) {
    await this.until(`the group ${name}`, () => this.node(name));
    const button = this.node(name).querySelector(":scope > g.nodeshape g.buttoncontainer");
    button.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    await this.until(`${name} to open`, () => this.node(name)?.classList.contains("expanded"));
    await this.settled();
  },

  async fit() {
    this.all("paper-button").find((one) => one.textContent.includes("Fit to screen"))?.click();
    await this.settled();
  },

  // For each node that is drawn: its whole name, its label, and its box on the screen.
  drawn() {
    return this.all("g.node").map((node) => {
      const label = node.querySelector(":scope > text.nodelabel");
      const box = node.querySelector(":scope > g.nodeshape")?.getBoundingClientRect();
      return {
        name: node.getAttribute("data-name"),
        label: label?.querySelector("title")?.textContent ?? label?.textContent ?? "",
        box: box && [box.left, box.top, box.right, box.bottom],
        aside: Boolean(node.closest("g.in-extract, g.out-extract")),
      };
    });
  },

  // Edges that are drawn, as TensorBoard names them: the nodes at both ends.
  edges() {
    return this.all("g.edge").map((edge) => edge.getAttribute("data-edge"));
  },
};
