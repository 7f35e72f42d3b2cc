// A browser whose page calls the app: node browser.js FILE [PROXY]. FILE.har is written by Playwright, or of the events of the browser's own
// protocol by chrome-har where FILE begins with "cdp"; with a proxy, by none of them.
const { chromium } = require('playwright-core')
const fs = require('fs')

// Each call waits for its answer, so that their order is known.
const calls = async (base) => {
  const bytes = (...x) => new Uint8Array(x)
  const call = (path, o) => fetch(base + path, o).then(r => r.arrayBuffer())
  const headers = { 'Content-Type': 'application/x-protobuf' }
  await call('/pb', { method: 'POST', headers, body: bytes(0x0a, 3, 0x61, 0x62, 0x63, 0x10, 0xac, 0x02, 0x1a, 2, 0xff, 0x80) })
  await call('/pbtext', { method: 'POST', headers, body: new TextEncoder().encode('\n\u0006caf\u00e9!') })
  await call('/octets?q=%E6%A4%85&x=a%20b')
  await call('/json', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"q":"日本"}' })
  await call('/sjis')
  await call('/latin')
  await call('/missing')
  await call('/empty', { method: 'DELETE' })
  await call('/moved')
  await call('/form', { method: 'POST', body: new URLSearchParams({ q: 'a b&c', '椅子': '1' }) })
  await call('/gzip', { method: 'PUT', headers, body: bytes(0x08, 0x96, 0x01) })
  await call('/json', { method: 'HEAD' })
  const form = new FormData()
  form.append('name', '寿司')
  await call('/form?multipart', { method: 'POST', body: form })
}

const record = async (page) => {
  const cdp = await page.context().newCDPSession(page)
  const events = []
  const names = ['Page.loadEventFired', 'Page.domContentEventFired', 'Page.frameStartedLoading', 'Page.frameAttached', 'Page.frameNavigated',
    'Network.requestWillBeSent', 'Network.requestServedFromCache', 'Network.dataReceived', 'Network.responseReceived', 'Network.loadingFinished',
    'Network.loadingFailed', 'Network.requestWillBeSentExtraInfo', 'Network.responseReceivedExtraInfo']
  for (const method of names) {
    cdp.on(method, async (params) => {
      events.push({ method, params })
      if (method !== 'Network.loadingFinished') return
      const body = await cdp.send('Network.getResponseBody', { requestId: params.requestId }).catch(() => null)
      const got = events.find(e => e.method === 'Network.responseReceived' && e.params.requestId === params.requestId)
      if (body && got) Object.assign(got.params.response, { body: body.body, encoding: body.base64Encoded ? 'base64' : undefined })
    })
  }
  await cdp.send('Page.enable')
  await cdp.send('Network.enable', { maxPostDataSize: 65536 })
  return events
}

;(async () => {
  const [file, proxy] = process.argv.slice(2)
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', proxy: proxy && { server: proxy },
    args: ['--no-sandbox', '--host-resolver-rules=MAP shop.example 127.0.0.1', '--disable-background-networking'] })
  const events = file.startsWith('cdp')
  const context = await browser.newContext({ ignoreHTTPSErrors: true, recordHar: proxy || events ? undefined : { path: file + '.har', content: 'embed' } })
  const page = await context.newPage()
  const seen = events ? await record(page) : []
  await page.goto('https://shop.example:8443/page')
  await page.evaluate(`(${calls})('https://shop.example:8443')`)
  await page.waitForTimeout(1000)
  if (events) {
    const { harFromMessages } = await import(process.env.NODE_PATH + '/chrome-har/index.js')
    fs.writeFileSync(file + '.har', JSON.stringify(harFromMessages(seen, { includeTextFromResponseBody: true })))
  }
  await context.close()
  await browser.close()
})()
