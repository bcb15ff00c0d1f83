"""What the dashboard's process does beside listening: reads learning curves, and rebuilds what the encoder sees."""

import asyncio
from pathlib import Path

from deploy.dashboard.board import to_jpeg
from deploy.dashboard.curves import Curves
from deploy.dashboard.pages import Pages

CURVES_S = 1.0  # between two looks at a run's tables
REBUILD_S = 0.2  # between two reconstructions


async def follow_run(pages: Pages) -> None:
    """Show the curves of the run that the scene names, for ever."""
    curves: Curves | None = None
    while True:
        scene = pages.board.scene
        if scene and scene.run and pages.open:
            curves = curves or Curves(Path(scene.run))
            if changed := await asyncio.to_thread(curves.changed):
                pages.board.curves = changed
                pages.wake()
        await asyncio.sleep(CURVES_S)


async def rebuild(pages: Pages) -> None:
    """Show what the encoder keeps of the newest picture while somebody looks, for ever."""
    board = pages.board
    while not (board.scene and board.scene.eyes):
        await asyncio.sleep(CURVES_S)
    from deploy.dashboard.rebuild import Eyes, humble_worker  # onnxruntime, which few dashboards need

    with humble_worker() as worker:
        loop = asyncio.get_running_loop()
        eyes = await loop.run_in_executor(worker, Eyes, Path(board.scene.eyes))
        rebuilt = None  # the cycle whose picture was
        while True:
            await asyncio.sleep(REBUILD_S)
            image = board.image()
            if image is None or board.cycle is rebuilt or not pages.open or not eyes.fits(image):
                continue
            rebuilt = board.cycle
            board.rebuilt = to_jpeg(await loop.run_in_executor(worker, eyes, image))
            pages.wake()
