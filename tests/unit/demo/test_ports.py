import os
import socket

import pytest

from demo.errors import DemoError
from demo.stack.ports import check_free, is_listening


def test_a_busy_port_names_its_holder_and_the_way_out() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        assert is_listening(port)
        with pytest.raises(DemoError) as caught:
            check_free(port, "SLIPWAY_AIRFLOW_PORT")

    assert f"process {os.getpid()} (" in str(caught.value)
    assert "SLIPWAY_AIRFLOW_PORT=<port>" in str(caught.value)
    assert "\n" not in str(caught.value)
    check_free(port, "SLIPWAY_AIRFLOW_PORT")
    assert not is_listening(port)
