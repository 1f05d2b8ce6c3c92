"""What is asked of every page: readable for all, no wider than the screen, reachable by keyboard."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

AXE = Path(__file__).parent / "axe-core-4.14.1" / "axe.min.js"

_WIDER = """() => {
    const room = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= room) return [];
    const isClipped = (element) => {
        for (let each = element.parentElement; each && each !== document.body; each = each.parentElement) {
            if (getComputedStyle(each).overflowX !== "visible") return true;
        }
        return false;
    };
    return [...document.querySelectorAll("body *")]
        .filter((each) => each.getBoundingClientRect().right > room + 1 && !isClipped(each))
        .map((each) => each.outerHTML.slice(0, 120))
        .concat(["the page is " + document.documentElement.scrollWidth + " px wide"]);
}"""

# Everything that a pointer can use, with radio buttons as the one stop that a group of them is. Each is given a number.
_USABLE = """() => {
    const groups = new Set();
    const usable = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")].filter((each) => {
        if (each.disabled || each.type === "hidden" || each.tabIndex < 0) return false;
        if (!each.checkVisibility({ visibilityProperty: true })) return false;
        if (each.closest("[popover]:not(:popover-open), dialog:not([open])")) return false;
        if (each.type !== "radio") return true;
        const isFirst = !groups.has(each.name);
        groups.add(each.name);
        return isFirst;
    });
    usable.forEach((each, number) => (each.dataset.stop = number));
    document.activeElement?.blur();
    window.getSelection()?.removeAllRanges();
    window.reached = new Set();
    window.unseen = [];
    document.addEventListener("focusin", (event) => {
        const at = event.target;
        const stop = at.dataset.stop ?? document.querySelector(`[type=radio][name="${CSS.escape(at.name || "-")}"][data-stop]`)?.dataset.stop;
        if (stop !== undefined) window.reached.add(stop);
        const look = getComputedStyle(at);
        const isShown = look.outlineStyle !== "none" && parseFloat(look.outlineWidth) > 0;
        if (!isShown && look.boxShadow === "none") window.unseen.push(at.outerHTML.slice(0, 120));
    });
    return usable.length;
}"""
_NOT_REACHED = """() => [...document.querySelectorAll("[data-stop]")]
    .filter((each) => !window.reached.has(each.dataset.stop))
    .map((each) => each.outerHTML.slice(0, 120))"""


def barriers(page: Page) -> list[str]:
    """What axe finds: each rule that is broken, with the first places."""
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(AXE.read_text(encoding="utf-8") + ";true")
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")
    return [
        f"{each['id']} ({each['help']}): "
        + "; ".join(
            f"{node['target']} {node['html'][:160]} {node['failureSummary'][:300]}" for node in each["nodes"][:4]
        )
        for each in found["violations"]
    ]


def wider_than_screen(page: Page, width_px: int) -> list[str]:
    """What makes the page scroll sideways on a screen of this width; empty where it fits."""
    page.set_viewport_size({"width": width_px, "height": 800})
    wide: list[str] = page.evaluate(_WIDER)
    return wide


def walk_by_keyboard(page: Page) -> tuple[list[str], list[str]]:
    """Press Tab through all of the page; gives what was not reached, and what did not show that it has the focus."""
    stops: int = page.evaluate(_USABLE)
    for _ in range(stops + 3):
        page.keyboard.press("Tab")
    return page.evaluate(_NOT_REACHED), page.evaluate("window.unseen")
