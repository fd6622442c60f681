"""A person at the platform's pages: Chromium, without a window, moved by Selenium."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

LAUNCHER = ".jp-LauncherCard[data-category='Notebook']"
"""What JupyterLab shows to begin a notebook with."""
NOTEBOOK = ".jp-NotebookPanel:not(.lm-mod-hidden)"
"""The notebook that is looked at."""
Answer = TypeVar("Answer")


class Person:
    """Somebody who looks at pages, fills in forms and runs cells.

    Parameters
    ----------
    driver : the browser.
    pictures : folder for pictures of pages; made when there is one.
    """

    def __init__(self, driver: Chrome, pictures: Path) -> None:
        self._driver = driver
        self._pictures = pictures

    @property
    def at(self) -> str:
        """The address of the page."""
        return self._driver.current_url

    def open(self, url: str) -> None:
        """Open a page; a certificate that is not trusted is an error."""
        self._driver.get(url)

    def see(self, selector: str, text: str = "", *, seconds: float = 60) -> WebElement:
        """Wait until the page shows what ``selector`` (CSS) names, with ``text`` in it.

        Raises
        ------
        AssertionError : it was not there in time; the message says what was.
        """
        found = self._wait(lambda: self._shown(selector, text), seconds)
        if found is None:
            self.picture("failed")
            body = self._driver.find_element(By.TAG_NAME, "body").text
            raise AssertionError(
                f"no {selector} with {text!r} within {seconds:g} s at"
                f" {self.at.partition('?')[0]}: {self._driver.title!r}: {body[:600]}"
            )
        return found

    def click(self, selector: str, text: str = "", *, seconds: float = 60) -> None:
        """Click on what :meth:`see` sees."""
        self.see(selector, text, seconds=seconds).click()

    def sign_in(self, user: str, password: str, *, field: str = "username") -> None:
        """Fill in the form that asks for a password, and send it.

        Parameters
        ----------
        field : what the form calls the one for the user's name.
        """
        self.see(f"input[name={field}]").send_keys(user)
        self.see("input[name=password]").send_keys(password, Keys.ENTER)

    def new_notebook(self, *, seconds: float = 120) -> None:
        """Begin a notebook in JupyterLab; returns when its kernel is there."""
        self.click(LAUNCHER, seconds=seconds)
        self.see(f"{NOTEBOOK} .jp-Cell .cm-content", seconds=seconds)
        self.see(f"{NOTEBOOK} .jp-Notebook-ExecutionIndicator[data-status=idle]", seconds=seconds)

    def run_cell(self, code: str, wanted: str, *, seconds: float = 60) -> None:
        """Type ``code`` into the notebook's last cell, run it, and see ``wanted`` come of it.

        It is run again when nothing at all comes of it: JupyterLab forgets what was run just
        while its connection to the kernel was made.
        """
        number = len(self._driver.find_elements(By.CSS_SELECTOR, f"{NOTEBOOK} .jp-Cell"))
        cell = f"{NOTEBOOK} .jp-Cell:nth-child({number} of .jp-Cell)"
        self.click(f"{cell} .cm-content")
        ActionChains(self._driver).send_keys(code).perform()
        ends = time.monotonic() + seconds
        self._press_run()
        while not self._wait(lambda: self._ran(cell), 5) and time.monotonic() < ends:
            self.click(f"{cell} .cm-content")
            self._press_run()
        self.see(f"{cell} .jp-OutputArea-output", wanted, seconds=seconds)

    def decline(self, question: str) -> None:
        """Say no to what the page may ask in passing; it need not."""
        if self._shown(".Toastify__toast", question):
            self.click(".Toastify__toast button", "No")
            self._wait(lambda: not self._shown(".Toastify__toast", question), 10)

    def picture(self, name: str) -> Path:
        """Keep a picture of what is seen as ``NAME.png``."""
        self._pictures.mkdir(parents=True, exist_ok=True)
        path = self._pictures / f"{name}.png"
        self._driver.save_screenshot(path)
        return path

    def _wait(self, look: Callable[[], Answer], seconds: float) -> Answer | None:
        """What ``look`` finds as soon as it finds something; nothing once the time is over."""
        wait = WebDriverWait(
            self._driver, seconds, 0.3, ignored_exceptions=(StaleElementReferenceException,)
        )
        try:
            return wait.until(lambda _: look())
        except TimeoutException:
            return None

    def _shown(self, selector: str, text: str) -> WebElement | None:
        found = self._driver.find_elements(By.CSS_SELECTOR, selector)
        return next((one for one in found if one.is_displayed() and text in one.text), None)

    def _ran(self, cell: str) -> bool:
        """Whether a cell has a number, or the star of one that runs."""
        prompt = self._shown(f"{cell} .jp-InputPrompt", "[")
        return prompt is not None and prompt.text.strip("[]: ") != ""

    def _press_run(self) -> None:
        keys = ActionChains(self._driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER)
        keys.key_up(Keys.SHIFT).perform()


@contextmanager
def browser(
    folder: Path, authorities: Sequence[Path], hosts: Mapping[str, str], pictures: Path
) -> Iterator[Person]:
    """Somebody new, with a browser of his own.

    Parameters
    ----------
    folder : the browser's home, empty; it holds whom the browser trusts, and what it keeps.
    authorities : PEM files of authorities to trust besides the usual ones.
    hosts : names, and the addresses where they are, in place of a name server.
    pictures : folder for pictures of pages.
    """
    database = folder / ".pki" / "nssdb"
    database.mkdir(parents=True)
    _certutil(database, "-N", "--empty-password")
    for number, authority in enumerate(authorities):
        _certutil(database, "-A", "-n", f"site-{number}", "-t", "C,,", "-i", str(authority))
    rules = ",".join(f"MAP {host} {address}" for host, address in hosts.items())
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in (
        "--headless=new",
        # The lab's user is root, whom Chromium's sandbox does not take.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--no-proxy-server",
        "--window-size=1100,760",
        f"--user-data-dir={folder / 'profile'}",
        f"--host-resolver-rules={rules}",
    ):
        options.add_argument(argument)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    log = str(folder / "chromedriver.log")
    service = ChromeService("/usr/bin/chromedriver", env=environment, log_output=log)
    driver = Chrome(options, service)
    try:
        driver.set_page_load_timeout(120)
        yield Person(driver, pictures)
    finally:
        driver.quit()


def _certutil(database: Path, *arguments: str) -> None:
    command = ["certutil", "-d", f"sql:{database}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
