// One person's visit in a real Chromium, told step by step by the contract test: a JSON object in a line of stdin is a
// step, a line of stdout its outcome. The end of stdin is the end of the visit.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [cache, shots] = process.argv.slice(2);
const { chromium } = createRequire(`${cache}/playwright/`)('playwright-core');

// Nothing here may look for the outside: no update checks, no QUIC, no sync.
const quiet = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'];
const sizes = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args: quiet });
const context = await browser.newContext({ viewport: sizes.desktop });
const page = await context.newPage();
page.setDefaultTimeout(20_000);

// What the browser itself says of keys in its requests: it should never have any.
let keys = 0;
context.on('request', (request) => {
    const names = Object.keys(request.headers());
    keys += names.filter((name) => name === 'authorization' || name.startsWith('x-amz-')).length;
});

const where = async () => ({ url: page.url(), title: await page.title(), text: await page.evaluate(() => document.documentElement.textContent) });

const steps = {
    // Opens a page and says where that led.
    async open({ url }) {
        const response = await page.goto(url);
        return { status: response?.status() ?? 0, ...await where() };
    },
    // Follows a link or presses a button by what it says.
    async press({ words }) {
        const pattern = new RegExp(words, 'i');
        const control = page.getByRole('link', { name: pattern }).or(page.getByRole('button', { name: pattern })).first();
        await Promise.all([page.waitForEvent('load'), control.click()]);
        return where();
    },
    // Fills in Keycloak's login form.
    async login({ name, password }) {
        await page.fill('#username', name);
        await page.fill('#password', password);
        await Promise.all([page.waitForEvent('load'), page.click('#kc-login')]);
        return where();
    },
    // Fills in any provider's form, and is sent on from page to page until one whose address begins so.
    async sign_in({ name, password, until }) {
        await page.fill('input[name=username]', name);
        await page.fill('input[name=password]', password);
        await Promise.all([page.waitForURL((url) => url.href.startsWith(until)), page.press('input[name=password]', 'Enter')]);
        return where();
    },
    // Presses a button, and is sent on as above.
    async press_until({ words, until }) {
        const control = page.getByRole('button', { name: new RegExp(words, 'i') }).first();
        await Promise.all([page.waitForURL((url) => url.href.startsWith(until)), control.click()]);
        return where();
    },
    async asks_for_a_password() {
        await page.waitForSelector('input[name=password]');
        return { asks: true };
    },
    // A request by a script on the page.
    async fetch({ path, method = 'GET', body }) {
        return page.evaluate(async ([path, method, body]) => {
            const response = await fetch(path, { method, body });
            return { status: response.status, text: await response.text() };
        }, [path, method, body]);
    },
    // The page as a person sees it, in a large and a small window.
    async shot({ name }) {
        for (const [size, viewport] of Object.entries(sizes)) {
            await page.setViewportSize(viewport);
            await page.screenshot({ path: `${shots}/${name}-${size}.png`, fullPage: true });
        }
        const wider = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
        await page.setViewportSize(sizes.desktop);
        return { scrolls_sideways: wider };
    },
    async cookies({ url }) {
        return { cookies: await context.cookies(url) };
    },
    async keys() {
        return { keys };
    },
};

for await (const line of createInterface({ input: process.stdin })) {
    const { step, ...details } = JSON.parse(line);
    const outcome = await steps[step](details).catch((error) => ({ error: `${step}: ${error.message}`, url: page.url() }));
    process.stdout.write(`${JSON.stringify(outcome)}\n`);
}
await browser.close();
