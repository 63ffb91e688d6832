// Opens a page in Chromium and prints, as one JSON object, what an expression
// gives once it is not null: node browser.mjs CHROMIUM URL PROFILE-DIR EXPRESSION FLAG...
import { chromium } from "playwright-core";

const [executablePath, url, profile, expression, ...flags] = process.argv.slice(2);
const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", ...flags],
});
const complaints = [];
try {
  const page = context.pages()[0] ?? (await context.newPage());
  page.on("pageerror", (e) => complaints.push(String(e)));
  page.on("console", (m) => complaints.push(`${m.type()}: ${m.text()}`));
  await page.goto(url);
  const value = await page.waitForFunction(expression, null, { timeout: 60_000 });
  console.log(JSON.stringify({ version: context.browser()?.version(), value: await value.jsonValue(), complaints }));
} catch (e) {
  console.log(JSON.stringify({ error: String(e), complaints }));
} finally {
  await context.close();
}
