// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// The shelf of odd tokens: what a vault may meet. Anyone may mint.

abstract contract OddToken is ERC20("Odd", "ODD") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// Keeps one per cent of what is moved.
contract FeeOnTransferToken is OddToken {
    function _update(address from, address to, uint256 value) internal override {
        if (from == address(0) || to == address(0)) return super._update(from, to, value);
        super._update(from, to, value - value / 100);
        super._update(from, address(this), value / 100);
    }
}

/// Gives one base unit too much.
contract GenerousToken is OddToken {
    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (from != address(0)) super._update(address(0), to, 1);
    }
}

/// Answers false instead of reverting, and moves nothing.
contract FalseReturnToken is OddToken {
    function transfer(address, uint256) public pure override returns (bool) {
        return false;
    }

    function transferFrom(address, address, uint256) public pure override returns (bool) {
        return false;
    }
}

/// Refuses whoever is on its list.
contract BlocklistToken is OddToken {
    mapping(address account => bool) public isBlocked;

    error BlocklistTokenBlocked(address account);

    function setBlocked(address account, bool blocked) external {
        isBlocked[account] = blocked;
    }

    function _update(address from, address to, uint256 value) internal override {
        require(!isBlocked[from], BlocklistTokenBlocked(from));
        require(!isBlocked[to], BlocklistTokenBlocked(to));
        super._update(from, to, value);
    }
}

/// Calls `target` with `data` whenever it is moved, and keeps what came of it.
contract ReentrantToken is OddToken {
    address public target;
    bytes public data;
    uint256 public calls;
    bytes public lastRevert;

    function arm(address target_, bytes calldata data_) external {
        target = target_;
        data = data_;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (target == address(0) || from == address(0)) return;
        (bool ok, bytes memory result) = target.call(data);
        calls++;
        lastRevert = ok ? bytes("") : result;
    }
}

/// Answers every call that it does not know as if it had done it.
contract SayYesToken is OddToken {
    fallback(bytes calldata) external returns (bytes memory) {
        return abi.encode(true);
    }
}

/// Returns nothing at all, as early tokens do.
contract NoReturnToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external {
        _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}
