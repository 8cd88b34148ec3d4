// One person's visit in a real Chromium, told step by step by the contract test: a JSON object in a line of stdin is a
// step, a line of stdout its outcome. The end of stdin is the end of the visit.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [cache, shots] = process.argv.slice(2);
const { chromium } = createRequire(`${cache}/playwright/`)('playwright-core');

// Nothing here may look for the outside: no update checks, no QUIC, no sync.
const quiet = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
    // Names of strangers lead to this machine, and what keeps pages from it is to be the server, whatever browsers ask first.
    '--host-resolver-rules=MAP *.test 127.0.0.1', '--disable-features=LocalNetworkAccessChecks'];
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
    // A page that another server gave out, before its name came to mean this machine.
    async page_at({ url }) {
        await page.route(url, (route) => route.fulfill({ contentType: 'text/html', body: '<title>elsewhere</title><body>' }));
        await page.goto(url);
        return where();
    },
    // All that a page can try to read an address by, and what it got to see by each.
    async read({ target, token }) {
        return page.evaluate(async ([target, token]) => {
            const fetched = (options) => fetch(target, options)
                .then(async (answer) => [answer.status, await answer.text()], () => [0, ''])
                .then(([status, text]) => status || text ? `${status}, ${text.length} bytes` : 'nothing');
            // Not everything tells of its failure.
            const within = (outcome) => Promise.race([outcome, new Promise((end) => setTimeout(end, 3_000, 'nothing'))]);
            const loaded = (element) => within(new Promise((end) => {
                element.onload = () => end('loaded');
                element.onerror = () => end('nothing');
                element.src = target;
                document.body.append(element);
            }));
            // A frame tells its end whatever came of it; what counts is whether the page can look inside.
            const framed = (fill) => within(new Promise((end) => {
                const frame = document.body.appendChild(document.createElement('iframe'));
                frame.name = `frame-${document.querySelectorAll('iframe').length}`;
                frame.onload = () => {
                    let text = '';
                    try {
                        text = frame.contentDocument?.documentElement.textContent ?? '';
                    } catch { /* another origin's */ }
                    end(text ? `${text.length} bytes` : 'nothing');
                };
                fill(frame);
            }));
            return {
                fetch: await fetched({}),
                'fetch with the token': await fetched({ headers: { authorization: token } }),
                'fetch without CORS': await fetched({ mode: 'no-cors' }),
                image: await loaded(new Image()),
                script: await loaded(document.createElement('script')),
                frame: await framed((frame) => { frame.src = target; }),
                form: await framed((frame) => {
                    const form = document.body.appendChild(document.createElement('form'));
                    Object.assign(form, { method: 'POST', action: target, target: frame.name });
                    form.submit();
                }),
            };
        }, [target, token]);
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
